//! What the benches share.

mod flights;
mod lanes;
mod results;
mod sample;
mod scans;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ecps_core::clock::{RosClock, Stamp, SystemRos};
use ecps_ros::r2r::ecps_msgs::msg::Caller;
use ecps_ros::r2r::nav_msgs::msg::Odometry;
use ecps_ros::{Args, Message, Node, Publisher, qos};

pub(crate) use flights::Flights;
pub(crate) use lanes::{Lane, race};
pub(crate) use results::Section;
pub(crate) use sample::Sample;
pub(crate) use scans::Scans;

/// What messages that are still under way get before they count as lost.
pub(crate) const STRAGGLERS: Duration = Duration::from_secs(1);
/// Sent before anything counts: connections, caches, and the ramp that the acceleration limit makes.
pub(crate) const WARM_UP: usize = 100;

const DISCOVERY: Duration = Duration::from_secs(20);

/// This program's path.
pub(crate) fn this_program() -> &'static str {
    std::env::current_exe().unwrap().into_os_string().into_string().unwrap().leak()
}

/// The driver's node.
pub(crate) fn node() -> Node<()> {
    Node::start("bench", &Args::parse([]).unwrap(), |_| Ok(())).unwrap()
}

/// ROS time without simulation.
pub(crate) fn ros_now() -> Stamp {
    SystemRos.now()
}

/// Publishes odometry of a robot at rest at 50 Hz, without which the executor moves nothing.
pub(crate) fn publish_odometry(node: &mut Node<()>, topic: &str) {
    let publisher = node.publisher::<Odometry>(topic, qos::default()).unwrap();
    let mut odometry = Odometry::default();
    odometry.header.frame_id = "odom".into();
    odometry.child_frame_id = "base_footprint".into();
    odometry.pose.pose.orientation.w = 1.0;
    node.timer(Duration::from_millis(20), move |()| {
        odometry.header.stamp = ecps_ros::time(ros_now());
        publisher.publish(&odometry);
    });
}

/// Waits until someone listens.
pub(crate) fn wait_for_subscriber<T: Message>(publisher: &Publisher<T>) {
    let deadline = Instant::now() + DISCOVERY;
    while publisher.subscribers() == 0 {
        assert!(Instant::now() < deadline, "nobody subscribed within {DISCOVERY:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until `moment`.
pub(crate) fn sleep_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}

/// Departures and arrivals, shared between the sending and the spinning thread.
pub(crate) fn flights() -> Arc<Mutex<Flights>> {
    Arc::default()
}

/// The driver as a caller.
pub(crate) fn caller() -> Caller {
    Caller { id: "bench".into(), stamp: ecps_ros::time(ros_now()), ..Caller::default() }
}

/// Velocity commands that can be told apart: 0.2 m/s and a tenth of a micrometre per second more for each.
pub(crate) fn numbered_speed(number: u64) -> f64 {
    0.2 + number as f64 * 1e-7
}
