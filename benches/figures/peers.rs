//! What the nodes are measured beside: the least that does the same with r2r alone. No gate, no journal, no checks; the
//! same QoS, and spinning as the nodes do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ecps_ros::r2r::ecps_msgs::msg::{MemoryHit, MemoryRecord};
use ecps_ros::r2r::ecps_msgs::srv::QueryMemory;
use ecps_ros::r2r::geometry_msgs::msg::Twist;
use ecps_ros::r2r::sensor_msgs::msg::LaserScan;
use ecps_ros::r2r::std_msgs::msg::Float64;
use ecps_ros::r2r::{Context, Node, QosProfile};
use ecps_ros::{Message, qos};
use futures::{FutureExt, Stream, StreamExt};

use crate::support;

/// Longest wait of a spin, as the executor's control period makes it.
const WAIT: Duration = Duration::from_millis(20);

/// Starts the peer that `arguments` describe and waits until it is there.
pub(crate) fn start(ros: &ecps_testing::Ros, arguments: &[&str]) -> ecps_testing::Process {
    let arguments: Vec<&str> = std::iter::once("as-peer").chain(arguments.iter().copied()).collect();
    let peer = ros.program(support::this_program(), &arguments);
    peer.wait_for_line("peer is up", ecps_testing::SOON);
    peer
}

/// Runs a peer until it is interrupted.
pub(crate) fn run(arguments: &[&str]) {
    let mut node = Node::create(Context::create().unwrap(), "peer", "").unwrap();
    match arguments {
        ["relay-twist", from, to] => relay::<Twist>(node, from, to, qos::command()),
        ["relay-number", from, to] => relay::<Float64>(node, from, to, qos::default()),
        ["relay-scan", from, to] => relay::<LaserScan>(node, from, to, qos::reliable(64)),
        ["sink-scan", from, latency] => {
            let mut scans = node.subscribe::<LaserScan>(from, qos::any_sensor(64)).unwrap();
            let latency = node.create_publisher::<Float64>(latency, qos::reliable(64)).unwrap();
            spin(node, || {
                drain(&mut scans, |scan| {
                    let nanos = support::ros_now().nanos_since(ecps_ros::stamp(&scan.header.stamp));
                    latency.publish(&Float64 { data: nanos as f64 / 1e9 }).unwrap();
                });
            });
        }
        ["echo", service, hits, dimension] => {
            let answer = answer(hits.parse().unwrap(), dimension.parse().unwrap());
            let mut requests = node.create_service::<QueryMemory::Service>(service, qos::services()).unwrap();
            spin(node, || drain(&mut requests, |request| request.respond(answer.clone()).unwrap()));
        }
        other => panic!("no peer is called {other:?}"),
    }
}

fn relay<T: Message>(mut node: Node, from: &str, to: &str, qos: QosProfile) {
    let mut messages = node.subscribe::<T>(from, qos.clone()).unwrap();
    let output = node.create_publisher::<T>(to, qos).unwrap();
    spin(node, || drain(&mut messages, |message| output.publish(&message).unwrap()));
}

fn drain<T>(items: &mut (impl Stream<Item = T> + Unpin), mut handle: impl FnMut(T)) {
    while let Some(Some(item)) = items.next().now_or_never() {
        handle(item);
    }
}

fn spin(mut node: Node, mut poll: impl FnMut()) {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).unwrap();
    }
    eprintln!("peer is up");
    while !stop.load(Ordering::Acquire) {
        node.spin_once(WAIT);
        poll();
    }
}

/// An answer as large as the memory's own.
fn answer(hits: usize, dimension: usize) -> QueryMemory::Response {
    let record = MemoryRecord {
        id: "00000000-0000-7000-8000-000000000000".into(),
        memory_namespace: "default".into(),
        model_id: ecps_perception::embed::scan::MODEL_ID.into(),
        embedding: vec![0.1; dimension],
        ..MemoryRecord::default()
    };
    QueryMemory::Response {
        hits: vec![MemoryHit { record, similarity: 1.0, ..MemoryHit::default() }; hits],
        ..QueryMemory::Response::default()
    }
}
