//! Tensors from one process to another: LTP's fast lane beside bare r2r, and what LTP costs apart from transport.
//!
//! Each way is a pair of processes, a source that stamps and publishes and a sink that takes the time; the driver starts
//! one pair after another, sizes outermost, so that whatever the machine does in a while hits all ways of a size.

mod lane;
mod plot;
#[path = "../../ros_pkgs/ecps_perception/tests/simulation/mod.rs"]
mod simulation;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ecps_core::clock::SystemSteady;
use ecps_perception::chunks::MaxFrame;
use ecps_perception::codec;
use ecps_perception::compression::{Auto, Choice, Compression, Packer};
use ecps_perception::link::Mode;
use ecps_perception::lossy::Conditions;
use ecps_perception::outbox::Settings;
use ecps_perception::tensor::{DType, Tensor};
use ecps_testing::{Process, Ros};

pub(crate) use lane::run_as_peer;

use crate::support::{self, Sample, Section};

/// Bytes, messages a second, and how many: of LTP, and of its peers.
const SIZES: [(usize, u32, usize, usize); 5] = [
    (64_000, 100, 300, 300),
    (256_000, 100, 300, 300),
    (1_000_000, 100, 2000, 500),
    (4_000_000, 20, 100, 60),
    (8_000_000, 20, 400, 100),
];

/// How a message goes, and with which profile of Fast DDS.
const WAYS: [(&str, &str, bool); 4] = [
    ("ltp", "LTP, tensor to verified tensor", true),
    ("raw-typed", "bare r2r, typed, default profile", false),
    ("raw-typed", "bare r2r, typed, shared memory", true),
    ("raw-cdr", "bare r2r, serialized, shared memory", true),
];

pub(crate) fn stage(_: &Ros) -> Vec<Process> {
    Vec::new()
}

pub(crate) fn measure() -> Section {
    let mut section = Section::begin(
        "From publishing a tensor in one process to having it in another, verified; beside bare r2r moving a \
         sensor_msgs/Image of as many bytes, and a copy in memory of as many. Time begins before the tensor is encoded."
            .to_owned(),
    );
    let mut curves = vec![Vec::new(); WAYS.len() + 1];
    for (bytes, rate, ours, theirs) in SIZES {
        let mut first = f64::NAN;
        section.group();
        for (index, (way, name, shared)) in WAYS.iter().enumerate() {
            let count = if index == 0 { ours } else { theirs };
            let sample = pair(way, *shared, bytes, rate, count);
            curves[index].push((bytes, sample.p50()));
            section.row(format!("{}: {name}, {rate} Hz", size(bytes)), &sample);
            if index == 0 {
                first = sample.p50();
                match bytes {
                    1_000_000 => {
                        section.goal("1 MB at 100 Hz, p50", first, 1.5, " ms");
                        section.goal("1 MB at 100 Hz, p99", sample.p99(), 5.0, " ms");
                        section.note(format!("1 MB at 100 Hz: {} of {count} lost", sample.lost()));
                    }
                    8_000_000 => {
                        section.goal("8 MB at 20 Hz, p50", first, 7.0, " ms");
                        section.note(format!("8 MB at 20 Hz: {} of {count} lost", sample.lost()));
                    }
                    _ => {}
                }
            } else if index == 1 && bytes == 1_000_000 {
                let share = first / sample.p50();
                section.goal(
                    "1 MB at 100 Hz: part of what bare r2r, typed, takes with the default profile",
                    share,
                    0.125,
                    "",
                );
            }
        }
        // What the policy of docs/ltp.md passes over.
        if bytes >= 1_000_000 {
            let cut = if bytes < 1 << 20 { "whole, copied" } else { "in chunks of 1 MiB, copied" };
            section.row(
                format!("{}: LTP {cut}, {rate} Hz", size(bytes)),
                &pair("ltp-other-cut", true, bytes, rate, theirs),
            );
        }
        lent(&mut section, bytes, rate, theirs);
        let copy = memory(bytes);
        curves[WAYS.len()].push((bytes, copy.p50()));
        section.row(format!("{}: a copy in memory", size(bytes)), &copy);
    }
    encode(&mut section);
    bad_link(&mut section);
    let names: Vec<&str> = WAYS.iter().map(|way| way.1).chain(["a copy in memory"]).collect();
    plot::write(&ecps_testing::root().join("docs/ltp-latency.svg"), &names, &curves);
    section
}

fn size(bytes: usize) -> String {
    if bytes < 1_000_000 { format!("{} KB", bytes / 1000) } else { format!("{} MB", bytes / 1_000_000) }
}

/// What memory lent by the middleware would give: pieces of fixed size, which alone can be lent, without CRC or tensor.
fn lent(section: &mut Section, bytes: usize, rate: u32, count: usize) {
    let probe = ecps_testing::root().join("target/bench-loaned/lib/loaned_probe/probe");
    let (piece, name) = match bytes {
        0..=65_536 => ("64K", "one piece of 64 KiB"),
        65_537..=524_288 => ("512K", "one piece of 512 KiB"),
        524_289..=1_048_576 => ("1M", "one piece of 1 MiB"),
        _ => ("512K", "pieces of 512 KiB"),
    };
    if !probe.exists() {
        return;
    }
    for (way, from_xml, title) in [
        ("copied", "0", "copied"),
        ("lent", "0", "lent by the middleware"),
        ("lent", "1", "lent, and shared with the subscriber"),
    ] {
        let sample = processes(way, count, |role| {
            let mut command = Command::new(&probe);
            command.args([role, way, piece, &bytes.to_string(), &rate.to_string(), &count.to_string()]);
            command.env("FASTRTPS_DEFAULT_PROFILES_FILE", profile());
            command.env("ROS_DISABLE_LOANED_MESSAGES", "0").env("RMW_FASTRTPS_USE_QOS_FROM_XML", from_xml);
            command
        });
        section.row(format!("{}: bare rcl, {name}, {title}, {rate} Hz", size(bytes)), &sample);
    }
}

fn profile() -> PathBuf {
    ecps_testing::root().join("config/fastdds_shared_memory.xml")
}

/// One source and one sink of our own, to their end.
fn pair(way: &str, shared: bool, bytes: usize, rate: u32, count: usize) -> Sample {
    processes(way, count, |role| {
        let mut command = Command::new(support::this_program());
        let role = format!("ltp-{role}");
        command.args(["as-peer", &role, way, &bytes.to_string(), &rate.to_string(), &count.to_string()]);
        command.env_remove("FASTRTPS_DEFAULT_PROFILES_FILE");
        if shared {
            command.env("FASTRTPS_DEFAULT_PROFILES_FILE", profile()).env("ROS_DISABLE_LOANED_MESSAGES", "0");
        }
        command
    })
}

/// Runs a source and a sink, which prints each time in nanoseconds.
fn processes(way: &str, count: usize, command: impl Fn(&str) -> Command) -> Sample {
    let start = |role: &str| command(role).stdout(Stdio::piped()).spawn().unwrap();
    let (sink, mut source) = (start("sink"), start("source"));
    assert!(source.wait().unwrap().success(), "the source of {way} failed");
    let output = sink.wait_with_output().unwrap();
    assert!(output.status.success(), "the sink of {way} failed");
    let mut sample = Sample::default();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        sample.push(Duration::from_nanos(line.parse().unwrap()));
    }
    sample.lose(count - sample.len().min(count));
    sample
}

fn memory(bytes: usize) -> Sample {
    let (from, mut to) = (vec![7_u8; bytes], vec![0_u8; bytes]);
    let mut sample = Sample::default();
    for _ in 0..100 {
        let started = Instant::now();
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
        sample.push(started.elapsed());
    }
    sample
}

/// 640 × 480 × 3 floats: a photo divided by 255 and a little noise.
fn photo() -> (Tensor, &'static str) {
    let file = ecps_testing::root().join("target/bench-photo/photo.f32");
    let (data, origin) = match std::fs::read(file) {
        Ok(data) => (data, "sample photo of scikit-learn (china.jpg, its top repeated for the missing rows)"),
        Err(_) => {
            let mut dice = ecps_testing::Dice::new(5);
            let pixel = |i: u32| {
                let (x, y) = (f64::from(i / 3 % 640), f64::from(i / 1920));
                let smooth = ((x * 0.013).sin() * (y * 0.021).cos() + 1.0) * 100.0;
                // The sum of twelve even numbers is nearly normal.
                let noise = (0..12).map(|_| dice.below(1 << 20) as f64 / f64::from(1 << 20)).sum::<f64>() - 6.0;
                ((smooth.round() / 255.0 + noise * 0.005) as f32).to_le_bytes()
            };
            ((0..640 * 480 * 3).flat_map(pixel).collect(), "made-up picture, since scikit-learn's photo is not here")
        }
    };
    (Tensor::new("photo", DType::F32, vec![480, 640, 3], data).unwrap(), origin)
}

fn encode(section: &mut Section) {
    let (tensor, origin) = photo();
    let (mut packer, mut auto) = (Packer::default(), Auto::new(12.5e6));
    let chosen = auto.choose(tensor.data(), 4, &mut Packer::default(), &SystemSteady);
    let (mut samples, mut ratios) = ([Sample::default(), Sample::default()], [0.0; 2]);
    // In turn, so that a moment in which the machine is slow is both's.
    for _ in 0..200 {
        for ((sample, ratio), compression) in samples.iter_mut().zip(&mut ratios).zip([chosen, Compression::default()])
        {
            let started = Instant::now();
            let payload = packer.pack(tensor.data(), compression).unwrap();
            std::hint::black_box(crc32fast::hash(&payload));
            sample.push(started.elapsed());
            *ratio = tensor.data().len() as f64 / payload.len() as f64;
        }
    }
    let ([ours, plain], [ratio, plain_ratio]) = (samples, ratios);
    section.group();
    section.row(format!("encode the photo as {chosen}, chosen by auto for 100 Mbit/s: ratio {ratio:.3}"), &ours);
    section.row(format!("encode the photo as plain zstd:3: ratio {plain_ratio:.3}"), &plain);
    section.goal("encode 640 × 480 × 3 floats, p50", ours.p50(), 4.0, " ms");
    section.note(format!("the photo: {origin}; / 255, noise of σ 0.005"));
    assert!(codec::decode(codec::encode(&tensor, chosen, 1).unwrap()).unwrap() == tensor);
}

/// 40 MB over a bad link, in simulated time.
fn bad_link(section: &mut Section) {
    let (rate, delay) = (12.5e6, Duration::from_millis(5));
    let clean = Conditions::clean(delay, rate);
    let bad = Conditions { loss: 0.05, duplicates: 0.05, jitter: Duration::from_millis(20), ..clean };
    let data = (0..40_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let tensor = Tensor::new("big", DType::U8, vec![40_000_000], data).unwrap();
    let cross = |conditions| {
        let settings = Settings {
            mode: Mode::Reliable,
            compression: Choice::Fixed(Compression::NONE),
            max: MaxFrame::new(65_536).unwrap(),
            bytes_per_second: Some(rate),
            peer: "receiver".into(),
            ..Settings::default()
        };
        let mut link = simulation::Simulation::new(settings, conditions, 1);
        let start = link.now();
        link.push(tensor.clone());
        link.run(Duration::from_secs(60), |link| !link.delivered.is_empty());
        let (_, found, at) = link.delivered.first().expect("it arrives");
        assert!(*found == tensor, "byte for byte");
        (at.since(start).as_secs_f64(), link.there.sent_bytes() as f64)
    };
    let ((clean_time, clean_bytes), (time, bytes)) = (cross(clean), cross(bad));
    section.goal(
        "40 MB, 5 % lost, 5 % doubled, all reordered: bytes of the clean link's",
        bytes / clean_bytes,
        1.4,
        " ×",
    );
    section.goal("the same: time of the clean link's", time / clean_time, 1.5, " ×");
    section.note(format!(
        "40 MB in simulated time at 100 Mbit/s: {clean_time:.2} s clean, {time:.2} s bad, byte for byte"
    ));
}
