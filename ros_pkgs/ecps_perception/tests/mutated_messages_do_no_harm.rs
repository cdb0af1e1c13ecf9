//! Mutated messages of each kind: no panic, no more memory than a bound, and data that are right or refused. Seeded; a
//! million of each in soak.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::Duration;

use ecps_core::campaign::rounds;
use ecps_core::clock::{Stamp, Steady};
use ecps_core::limits;
use ecps_core::wire;
use ecps_core::wire::proto::{Ltp, LtpAck, LtpChunk};
use ecps_perception::cdr::{CdrWriter, wire as cdr};
use ecps_perception::chunks::{MaxFrame, Parcel, WirePacket};
use ecps_perception::codec::{decode_bytes, encode};
use ecps_perception::inbox::Inbox;
use ecps_perception::outbox::{Next, Outbox, Settings};
use ecps_perception::reassembly::{Bounds, Event, Pool, complete_ack};
use ecps_perception::sensor::{
    Conversion, Image, JointState, LaserScan, MultiArray, MultiArrayDimension, PointCloud2, PointField, SensorMessage,
};
use ecps_perception::tensor::{DType, Tensor};
use peak_alloc::PeakAlloc;
use prost::Message as _;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Bytes of tensor in the messages that are mutated.
const SIZE: u32 = 4000;
/// What dealing with a mutated message may take beyond what was held: its decoder's tables and what a lie within the
/// bounds costs. The largest tensor allowed is 256 MiB, and a small payload can claim at most 32768 times its size.
const CAP: usize = 96 << 20;

/// All in one test: the allocator counts the whole process.
#[test]
fn mutated_messages_of_each_kind_cause_no_panic_and_no_allocation_above_the_cap() {
    let count = rounds(15_000, 1_000_000);
    let tensor = tensor();
    let frames: Vec<Ltp> = ["zstd", "none", "lz4", "zstd+shuffle", "lz4+shuffle"]
        .iter()
        .map(|compression| encode(&tensor, compression.parse().unwrap(), 1).unwrap())
        .collect();
    let chunks: Vec<LtpChunk> = frames
        .iter()
        .flat_map(|frame| {
            let parcel = Parcel::new(frame.clone(), MaxFrame::new(2048).unwrap()).unwrap();
            (0..parcel.chunks()).map(move |index| parcel.packet(index).unwrap().to_wire()).collect::<Vec<_>>()
        })
        .map(|packet| match packet {
            WirePacket::Chunk(chunk) => chunk,
            WirePacket::Frame(_) => panic!("not cut"),
        })
        .collect();

    campaign("LTP as protobuf", count, &frames.iter().map(Ltp::encode_to_vec).collect::<Vec<_>>(), |bytes| {
        let found = decode_bytes(bytes).ok()?;
        assert!(found.data() == tensor.data(), "changed unnoticed: {:?}", found.attributes());
        Some(())
    });
    let bounds = Bounds::default();
    let mut inbox = Inbox::new("s", "r", bounds, Pool::new(bounds.total_bytes));
    let mut now = Steady(Duration::from_secs(1));
    let originals: Vec<_> = chunks.iter().map(LtpChunk::encode_to_vec).collect();
    campaign("LTPChunk as protobuf", count, &originals, |bytes| {
        now.0 += Duration::from_millis(1);
        inbox.poll(now);
        let chunk = wire::decode::<LtpChunk>(bytes, limits::LTP_FRAME_BYTES).ok()?;
        check(inbox.chunk("link", chunk, now).events, &tensor)
    });
    assert!(inbox.counters().refusals.len() > 3, "{:?}", inbox.counters());

    let ack = LtpAck { success: false, missing_chunks: vec![0, 2], ..complete_ack(1, 3) };
    let clock = ecps_core::clock::ManualClock::default();
    campaign("LTPAck as protobuf", count, &[ack.encode_to_vec()], |bytes| {
        let settings = Settings { max: MaxFrame::new(2048).unwrap(), ..Settings::default() };
        let mut outbox = Outbox::new(settings);
        outbox.push(tensor.clone(), &clock).unwrap();
        while let Next::Send(_) = outbox.poll(now) {}
        let ack = wire::decode::<LtpAck>(bytes, limits::LTP_FRAME_BYTES).ok()?;
        outbox.acknowledge(&ack, now).ok()?;
        let mut again = 0;
        while let Next::Send(_) = outbox.poll(now) {
            again += 1;
        }
        assert!(again <= 3, "{again} packets sent again for one acknowledgement");
        Some(())
    });

    let of = |packet: &dyn Fn(&Parcel) -> u32| {
        let parcels = frames.iter().map(|frame| Parcel::new(frame.clone(), MaxFrame::default()).unwrap());
        parcels.map(|parcel| cdr::packet(&parcel.packet(packet(&parcel)).unwrap(), Vec::new())).collect::<Vec<_>>()
    };
    campaign("LtpFrame in DDS", count, &of(&|_| 0), |bytes| {
        let frame = cdr::read_frame(bytes.to_vec()).ok()?;
        let mut inbox = Inbox::new("s", "r", bounds, Pool::new(bounds.total_bytes));
        check(inbox.frame("link", frame, now).events, &tensor)
    });
    let parcel = Parcel::new(frames[1].clone(), MaxFrame::new(2048).unwrap()).unwrap();
    let chunks: Vec<_> =
        (0..parcel.chunks()).map(|index| cdr::packet(&parcel.packet(index).unwrap(), Vec::new())).collect();
    let mut inbox = Inbox::new("s", "r", bounds, Pool::new(bounds.total_bytes));
    for chunk in &chunks {
        let taken = inbox.chunk("link", cdr::read_chunk(chunk.clone()).unwrap(), now);
        check(taken.events, &tensor).expect("sound chunks are taken in");
    }
    assert_eq!(inbox.counters().tensors, 1);
    campaign("LtpChunk in DDS", count, &chunks, |bytes| {
        now.0 += Duration::from_millis(1);
        inbox.poll(now);
        check(inbox.chunk("link", cdr::read_chunk(bytes.to_vec()).ok()?, now).events, &tensor)
    });
    campaign("LtpAck in DDS", count, &[cdr::ack(&ack)], |bytes| cdr::read_ack(bytes).ok().map(drop));
    let message = cdr::tensor(&tensor, Vec::new());
    campaign("Tensor in DDS", count, &[message], |bytes| cdr::read_tensor(bytes.to_vec()).ok().map(drop));
    for (name, message) in sensor_messages() {
        let conversion = Conversion::of(name);
        campaign(name, count, &[message], |bytes| conversion.to_tensor(bytes, "s", Stamp(0)).ok().map(drop));
    }
}

/// One of each kind that has sequences, as they lie in DDS.
fn sensor_messages() -> Vec<(&'static str, Vec<u8>)> {
    fn cdr(message: &impl SensorMessage) -> Vec<u8> {
        let mut writer = CdrWriter::new(0);
        message.write(&mut writer);
        writer.finish()
    }
    let scan = LaserScan { ranges: vec![1.0; 360], ..LaserScan::default() };
    let field = PointField { name: "x".into(), offset: 0, datatype: 7, count: 1 };
    let cloud = PointCloud2 {
        height: 1,
        width: 50,
        fields: vec![field; 3],
        point_step: 12,
        row_step: 600,
        data: vec![1; 600],
        ..PointCloud2::default()
    };
    let joints = JointState { names: vec!["a".into(); 20], position: vec![1.0; 20], ..JointState::default() };
    let image =
        Image { height: 10, width: 20, encoding: "rgb8".into(), step: 60, data: vec![2; 600], ..Image::default() };
    let mut array = CdrWriter::new(0);
    let dimensions = vec![MultiArrayDimension { label: "n".into(), size: 60, stride: 60 }];
    MultiArray { dimensions, ..MultiArray::flat(DType::F64, vec![3; 480]) }.write(&mut array);
    vec![
        (LaserScan::TYPE, cdr(&scan)),
        (PointCloud2::TYPE, cdr(&cloud)),
        (JointState::TYPE, cdr(&joints)),
        (Image::TYPE, cdr(&image)),
        ("std_msgs/msg/Float64MultiArray", array.finish()),
    ]
}

fn tensor() -> Tensor {
    let mut dice = Pcg64Mcg::seed_from_u64(11);
    let data = (0..SIZE / 4).flat_map(|i| (1.0 + i as f32 * 0.001 + dice.random_range(0.0..0.01_f32)).to_le_bytes());
    Tensor::new("t", DType::F32, vec![SIZE / 4], data.collect()).unwrap().in_frame("laser").unwrap().at(Stamp(1))
}

fn check(events: Vec<Event>, original: &Tensor) -> Option<()> {
    let mut taken = None;
    for event in events {
        match event {
            Event::Complete { tensor, .. } => {
                assert!(tensor.data() == original.data(), "changed unnoticed");
                taken = Some(());
            }
            Event::Refused(refusal) => assert!(!refusal.kind().is_empty()),
            _ => taken = Some(()),
        }
    }
    taken
}

/// Mutates `originals` in turn; `take` says whether a message was acceptable.
fn campaign(kind: &str, count: u32, originals: &[Vec<u8>], mut take: impl FnMut(&[u8]) -> Option<()>) {
    let mut dice = Pcg64Mcg::seed_from_u64(12);
    let (mut accepted, mut most) = (0, 0);
    for round in 0..count as usize {
        let mut bytes = originals[round % originals.len()].clone();
        mutate(&mut dice, &mut bytes);
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        accepted += u32::from(take(&bytes).is_some());
        most = most.max(MEMORY.peak_usage().saturating_sub(before));
        assert!(most <= CAP, "{kind}: message {round} cost {most} bytes");
    }
    println!("{kind}: {count} messages, {accepted} acceptable, at most {most} bytes for one");
    assert!(accepted < count, "no mutation of {kind} was refused");
}

/// Flips, overwrites, inserts, removes, cuts, or writes a number that lies about a size; one to four times.
fn mutate(dice: &mut Pcg64Mcg, bytes: &mut Vec<u8>) {
    for _ in 0..dice.random_range(1..=4) {
        if bytes.len() < 8 {
            return;
        }
        let at = dice.random_range(0..bytes.len());
        match dice.random_range(0..7) {
            0 => bytes[at] ^= 1 << dice.random_range(0..8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][dice.random_range(0..5)],
            2 => bytes.insert(at, dice.random()),
            3 => drop(bytes.remove(at)),
            4 if dice.random_bool(0.2) => bytes.truncate(at),
            5 => {
                let at = at.min(bytes.len() - 4);
                let lie =
                    [0_u32, 1, 0x7fff_ffff, 0xffff_ffff, 512 << 20, 65_536, dice.random()][dice.random_range(0..7)];
                bytes[at..at + 4].copy_from_slice(&lie.to_le_bytes());
            }
            _ => {
                let (from, length) = (dice.random_range(0..bytes.len()), dice.random_range(1..16));
                let part = bytes[from..(from + length).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
}
