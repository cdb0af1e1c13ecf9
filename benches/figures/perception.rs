//! A laser scan becomes a memory, beside a bare publisher and subscriber.
//!
//! When the scan is a memory: once a query for its time finds it, which the memory answers only after the disk has it.
//! Asking begins when the record is seen on its way to the memory, so that it does not disturb what comes before, and
//! goes on without a pause. So the time holds one round of the query service, and is an upper bound.

use std::io::Write as _;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ecps_core::clock::Stamp;
use ecps_ros::r2r::ecps_msgs::msg::MemoryRecord;
use ecps_ros::r2r::ecps_msgs::srv::QueryMemory;
use ecps_ros::r2r::sensor_msgs::msg::LaserScan;
use ecps_ros::r2r::std_msgs::msg::Float64;
use ecps_ros::{Client, qos};
use ecps_testing::{Process, Ros};

use crate::peers;
use crate::support::{self, STRAGGLERS, Sample, Scans, Section};

const SCANS: usize = 600;
const WARM_UP: usize = 40;
const PERIOD: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) fn stage(ros: &Ros) -> Vec<Process> {
    vec![
        ros.node("mep_server", &[]),
        ros.node("ltp_bridge", &["-p", "scan.remember_distance:=0.0"]),
        peers::start(ros, &["sink-scan", "/raw/scan", "/raw/latency"]),
    ]
}

pub(crate) fn measure() -> Section {
    let source = Scans::load();
    let mut section = Section::begin(format!(
        "From publishing a LaserScan to its MemoryRecord on disk, through ltp_bridge (tensor, zstd, checksum, link, place \
         descriptor) and mep_server; {SCANS} {} at 20 Hz, and as many from a bare publisher to a bare subscriber, half a \
         period apart. On disk is when a query finds it, asked without a pause from the moment the record is seen on \
         `mep_server/observe`: an upper bound by one round of the service.",
        source.origin
    ));
    let mut node = support::node();
    let scans = node.publisher::<LaserScan>("/scan", qos::reliable(5)).unwrap();
    let raw = node.publisher::<LaserScan>("/raw/scan", qos::reliable(5)).unwrap();
    let query = node.client::<QueryMemory::Service>("/mep_server/query").unwrap();
    let (seen, observations) = mpsc::channel::<(Stamp, Instant)>();
    node.subscribe("/mep_server/observe", qos::reliable(100), move |(), record: MemoryRecord| {
        let _ = seen.send((ecps_ros::stamp(&record.header.stamp), Instant::now()));
    })
    .unwrap();
    let (measured, latencies) = mpsc::channel::<f64>();
    node.subscribe("/raw/latency", qos::reliable(64), move |(), latency: Float64| {
        let _ = measured.send(latency.data);
    })
    .unwrap();
    support::publish_odometry(&mut node, "/odom");
    let _spinning = node.spin_in_background(());
    [&scans, &raw].into_iter().for_each(support::wait_for_subscriber);

    let mut file = tempfile::tempfile().unwrap();
    let [mut durable, mut observed, mut one_way, mut synced] = [const { Vec::new() }; 4];
    let start = Instant::now();
    for number in 0..WARM_UP + SCANS {
        let mut scan = source.scans[number % source.scans.len()].clone();
        support::sleep_until(start + PERIOD * number as u32);
        let (stamp, departed) = (support::ros_now(), Instant::now());
        scan.header.stamp = ecps_ros::time(stamp);
        scans.publish(&scan);
        let seen = when_observed(&observations, stamp);
        observed.push(seen.map(|at| at - departed));
        durable.push(seen.and_then(|_| when_found(&query, stamp)).map(|at| at - departed));

        support::sleep_until(start + PERIOD * number as u32 + PERIOD / 2);
        scan.header.stamp = ecps_ros::time(support::ros_now());
        raw.publish(&scan);
        let latency = latencies.recv_timeout(PATIENCE).ok();
        one_way.push(latency.map(Duration::from_secs_f64));

        support::sleep_until(start + PERIOD * number as u32 + PERIOD * 3 / 4);
        let started = Instant::now();
        file.write_all(&[number as u8; 4096]).unwrap();
        file.sync_data().unwrap();
        synced.push(Some(started.elapsed()));
    }
    std::thread::sleep(STRAGGLERS);

    let [durable, observed, one_way, synced] =
        [durable, observed, one_way, synced].map(|times| sample(&times[WARM_UP..]));
    section.row("scan to memory record on disk", &durable);
    section.row("of it, scan to record on its way to the memory", &observed);
    section.row("bare r2r: LaserScan, publisher to subscriber", &one_way);
    section.row("the disk alone: 4 KiB appended, fdatasync", &synced);
    section.goal("p99 of scan to memory record", durable.p99(), 50.0, " ms");
    section
}

/// When the record of the scan taken at `stamp` came by.
fn when_observed(observations: &mpsc::Receiver<(Stamp, Instant)>, stamp: Stamp) -> Option<Instant> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (of, at) = observations.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()?;
        if of == stamp {
            return Some(at);
        }
    }
}

/// When a query for the time `stamp` was first answered with a record.
fn when_found(query: &Client<QueryMemory::Service>, stamp: Stamp) -> Option<Instant> {
    let request = QueryMemory::Request {
        caller: support::caller(),
        k: 1,
        min_sim: -1.0,
        not_before: ecps_ros::time(stamp),
        not_after: ecps_ros::time(stamp),
        ..QueryMemory::Request::default()
    };
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let answer = query.call(&request, PATIENCE).ok()?;
        assert_eq!(answer.error_code, 0, "{}", answer.error_msg);
        if !answer.hits.is_empty() {
            return Some(Instant::now());
        }
    }
    None
}

fn sample(times: &[Option<Duration>]) -> Sample {
    let mut sample = Sample::default();
    times.iter().flatten().for_each(|time| sample.push(*time));
    sample.lose(times.iter().filter(|time| time.is_none()).count());
    sample
}
