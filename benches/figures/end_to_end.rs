//! From a laser scan to the velocity it causes, beside the same hops with nothing in them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ecps_core::clock::Stamp;
use ecps_ros::r2r::ecps_msgs::msg::Tensor;
use ecps_ros::r2r::geometry_msgs::msg::Twist;
use ecps_ros::r2r::sensor_msgs::msg::LaserScan;
use ecps_ros::{Message, Node, Publisher, qos};
use ecps_testing::{Process, Ros};

use crate::peers;
use crate::support::{self, Flights, STRAGGLERS, Scans, Section};

const SCANS: usize = 600;
const WARM_UP: usize = 40;
const PERIOD: Duration = Duration::from_millis(50);

pub(crate) fn stage(ros: &Ros) -> Vec<Process> {
    vec![
        ros.node("mep_server", &[]),
        ros.node("ltp_bridge", &["-p", "scan.remember_distance:=0.0"]),
        ros.node("eap_executor", &["-p", "require_scan:=false"]),
        peers::start(ros, &["relay-scan", "/raw/scan", "/raw/seen"]),
        peers::start(ros, &["relay-twist", "/raw/cmd_vel_in", "/raw/cmd_vel"]),
    ]
}

/// One chain: a scan goes out, a policy answers what comes of it with a command, and the command comes back.
struct Chain {
    scans: Publisher<LaserScan>,
    commands: Publisher<Twist>,
    flights: Arc<Mutex<Flights>>,
}

impl Chain {
    fn new<T: Message>(
        node: &mut Node<()>,
        namespace: &str,
        perceived: &str,
        stamp: impl Fn(&T) -> Stamp + Send + 'static,
    ) -> Chain {
        let flights = support::flights();
        let scans = node.publisher(&format!("{namespace}/scan"), qos::reliable(5)).unwrap();
        let commands = node.publisher::<Twist>(&format!("{namespace}/cmd_vel_in"), qos::command()).unwrap();
        let (policy, under_way) = (commands.clone(), Arc::clone(&flights));
        let number = AtomicU64::new(0);
        node.subscribe(perceived, qos::reliable(64), move |(), message: T| {
            let mut twist = Twist::default();
            twist.linear.x = support::numbered_speed(number.fetch_add(1, Ordering::Relaxed));
            under_way.lock().unwrap().rename(key(stamp(&message)), twist.linear.x.to_bits());
            policy.publish(&twist);
        })
        .unwrap();
        let arrivals = Arc::clone(&flights);
        node.subscribe(&format!("{namespace}/cmd_vel"), qos::reliable(100), move |(), twist: Twist| {
            arrivals.lock().unwrap().arrive(twist.linear.x.to_bits(), Instant::now());
        })
        .unwrap();
        Chain { scans, commands, flights }
    }

    fn send(&self, mut scan: LaserScan) {
        let stamp = support::ros_now();
        scan.header.stamp = ecps_ros::time(stamp);
        self.flights.lock().unwrap().depart(key(stamp), Instant::now());
        self.scans.publish(&scan);
    }
}

fn key(stamp: Stamp) -> u64 {
    stamp.0.cast_unsigned()
}

pub(crate) fn measure() -> Section {
    let source = Scans::load();
    let mut section = Section::begin(format!(
        "From publishing a LaserScan to receiving on `cmd_vel` the command it causes: ltp_bridge, a policy in this bench \
         that answers each tensor, eap_executor; mep_server remembers every scan meanwhile. {SCANS} {} at 20 Hz, and as \
         many half a period later through two bare relays and the same policy.",
        source.origin
    ));
    let mut node = support::node();
    let chains = [
        Chain::new(&mut node, "", "/ltp_bridge/scan/tensor", |tensor: &Tensor| ecps_ros::stamp(&tensor.header.stamp)),
        Chain::new(&mut node, "/raw", "/raw/seen", |scan: &LaserScan| ecps_ros::stamp(&scan.header.stamp)),
    ];
    support::publish_odometry(&mut node, "/odom");
    let _spinning = node.spin_in_background(());
    for chain in &chains {
        support::wait_for_subscriber(&chain.scans);
        support::wait_for_subscriber(&chain.commands);
    }

    let start = Instant::now();
    for number in 0..WARM_UP + SCANS {
        if number == WARM_UP {
            chains.iter().for_each(|chain| drop(chain.flights.lock().unwrap().take()));
        }
        let scan = &source.scans[number % source.scans.len()];
        support::sleep_until(start + PERIOD * number as u32);
        chains[0].send(scan.clone());
        support::sleep_until(start + PERIOD * number as u32 + PERIOD / 2);
        chains[1].send(scan.clone());
    }
    std::thread::sleep(STRAGGLERS);

    let [ecps, bare] = chains.map(|chain| chain.flights.lock().unwrap().take());
    section.row("scan to `cmd_vel` through the stack", &ecps);
    section.row("the same hops through bare r2r relays", &bare);
    section.goal("p99, perception to action", ecps.p99(), 200.0, " ms");
    section
}
