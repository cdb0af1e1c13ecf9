//! A camera of 30 VGA frames a second through the bridge: ten minutes in soak, a few seconds otherwise.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use ecps_core::campaign::rounds;
use ecps_testing::{Ros, SOON};

/// Bytes that the process may grow by, once it has seen some frames.
const GROWTH: u64 = 20 << 20;

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn a_camera_of_thirty_frames_a_second_costs_no_more_memory_as_it_goes_on() {
    let seconds = rounds(12, 600);
    let ros = Ros::new();
    let bridge = ros.node(
        "ltp_bridge",
        &[
            "-p",
            "streams:=[camera]",
            "-p",
            "camera.type:=sensor_msgs/msg/Image",
            "-p",
            "camera.reliability:=reliable",
            "-p",
            "camera.compression:=lz4",
        ],
    );
    let camera = ros.start_peer("camera.py", &[&seconds.to_string()]);
    // Queues and caches fill first.
    std::thread::sleep(Duration::from_secs(u64::from(seconds.min(30)) / 2));
    let (start, early) = (Instant::now(), resident(bridge.pid()));
    camera.finish(Duration::from_secs(u64::from(seconds)) + SOON * 2).assert_success();
    let late = resident(bridge.pid());
    let line = format!(
        "30 VGA frames a second for {seconds} s: {:.1} MiB resident, {:.1} MiB {:.0} s later",
        early as f64 / f64::from(1 << 20),
        late as f64 / f64::from(1 << 20),
        start.elapsed().as_secs_f64()
    );
    println!("{line}");
    std::fs::write(ecps_testing::root().join("target/memory.txt"), line + "\n").unwrap();
    assert!(late < early + GROWTH, "grew from {early} to {late} bytes in {:?}", start.elapsed());
    bridge.interrupt().assert_success();
}
