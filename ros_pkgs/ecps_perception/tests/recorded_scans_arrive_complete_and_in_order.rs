//! A real robot's scans over a link that loses, doubles and reorders.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod simulation;
mod world;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use ecps_core::clock::Stamp;
use ecps_perception::chunks::MaxFrame;
use ecps_perception::compression::Choice;
use ecps_perception::link::Mode;
use ecps_perception::lossy::Conditions;
use ecps_perception::outbox::Settings;
use ecps_perception::sensor::{Conversion, LaserScan, SensorMessage};
use simulation::Simulation;

/// The recording's scans as they lay in DDS; those of a room, and a word that they are, where there is none.
fn scans() -> Vec<Vec<u8>> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/intel_lab/intel_lab.mcap");
    let bag = std::env::var_os("ECPS_BAG").map_or(beside, PathBuf::from);
    if let Ok(bytes) = std::fs::read(&bag) {
        let messages = mcap::MessageStream::new(&bytes).unwrap().map(Result::unwrap);
        return messages.filter(|m| m.channel.topic == "/scan").map(|m| m.data.to_vec()).collect();
    }
    let _ = writeln!(std::io::stderr(), "{} is not there; scans of a made-up room instead", bag.display());
    let room = &world::rooms()[0];
    let scan = |i: u32| LaserScan {
        stamp: Stamp(i64::from(i) * 100_000_000),
        frame_id: "laser".into(),
        ..room.scan(&world::pose(1.0 + f64::from(i) * 0.001, 1.0, 0.0), 180, std::f64::consts::PI, u64::from(i))
    };
    let conversion = Conversion::of(LaserScan::TYPE);
    (0..2000).map(|i| conversion.from_tensor(scan(i).into_tensor("scan").unwrap()).unwrap()).collect()
}

#[test]
fn every_scan_arrives_once_in_order_and_with_the_same_values() {
    let scans = scans();
    let conversion = Conversion::of(LaserScan::TYPE);
    // A radio link of 2 Mbit/s, and frames so small that a scan takes two chunks.
    let conditions = Conditions {
        loss: 0.1,
        duplicates: 0.05,
        jitter: Duration::from_millis(60),
        ..Conditions::clean(Duration::from_millis(10), 250e3)
    };
    for (compression, key_every) in [("none", None), ("zstd:3+shuffle", Some(50))] {
        let settings = Settings {
            mode: Mode::Reliable,
            compression: Choice::Fixed(compression.parse().unwrap()),
            max: MaxFrame::new(2048).unwrap(),
            bytes_per_second: Some(250e3),
            peer: "receiver".into(),
            key_every,
            ..Settings::default()
        };
        let mut simulation = Simulation::new(settings, conditions, 21);
        for scan in &scans {
            simulation.push(conversion.to_tensor(scan, "scan", Stamp(0)).unwrap());
            simulation.run(Duration::from_millis(100), |_| false);
        }
        simulation.run(Duration::from_secs(30), |s| s.outbox.waiting() == 0);
        assert!(simulation.there.lost() > 100, "{} packets lost", simulation.there.lost());
        assert_eq!(simulation.delivered.len(), scans.len());
        for (number, (sent, (sequence, tensor, _))) in (1_u32..).zip(scans.iter().zip(&simulation.delivered)) {
            assert_eq!(*sequence, number);
            let expected = conversion.to_tensor(sent, "scan", Stamp(0)).unwrap();
            assert_eq!(*tensor, expected, "scan {number}");
        }
        println!("{} scans, {compression}: {:?}", scans.len(), simulation.outbox.counters());
    }
}
