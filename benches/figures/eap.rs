//! `cmd_vel_in` → `cmd_vel` through the executor, at 100 Hz, beside a bare relay.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ecps_ros::r2r::geometry_msgs::msg::Twist;
use ecps_ros::{Node, Publisher, qos};
use ecps_testing::{Process, Ros};

use crate::peers;
use crate::support::{self, Flights, STRAGGLERS, Section, WARM_UP};

const COMMANDS: usize = 3000;
const PERIOD: Duration = Duration::from_millis(10);
/// Commands after which gate and relay change places within the period.
const ROUND: usize = 100;

pub(crate) fn stage(ros: &Ros) -> Vec<Process> {
    vec![
        ros.node("eap_executor", &["-r", "__ns:=/gate"]),
        peers::start(ros, &["relay-twist", "/relay/cmd_vel_in", "/relay/cmd_vel"]),
    ]
}

struct Lane {
    input: Publisher<Twist>,
    flights: Arc<Mutex<Flights>>,
}

impl Lane {
    fn new(node: &mut Node<()>, namespace: &str) -> Lane {
        let flights = support::flights();
        let arrivals = Arc::clone(&flights);
        node.subscribe(&format!("/{namespace}/cmd_vel"), qos::reliable(100), move |(), twist: Twist| {
            arrivals.lock().unwrap().arrive(twist.linear.x.to_bits(), Instant::now());
        })
        .unwrap();
        Lane { input: node.publisher(&format!("/{namespace}/cmd_vel_in"), qos::command()).unwrap(), flights }
    }

    /// A command that was altered on its way counts as lost: its speed is its name.
    fn send(&self, number: usize) {
        let mut twist = Twist::default();
        twist.linear.x = support::numbered_speed(number as u64);
        self.flights.lock().unwrap().depart(twist.linear.x.to_bits(), Instant::now());
        self.input.publish(&twist);
    }
}

pub(crate) fn measure() -> Section {
    let mut section = Section::begin(format!(
        "From publishing a Twist on `cmd_vel_in` to receiving it on `cmd_vel`, {COMMANDS} at 100 Hz through each, half a \
         period apart; odometry at 50 Hz goes to the executor."
    ));
    let mut node = support::node();
    let lanes = [Lane::new(&mut node, "gate"), Lane::new(&mut node, "relay")];
    support::publish_odometry(&mut node, "/gate/odom");
    let _spinning = node.spin_in_background(());
    lanes.iter().for_each(|lane| support::wait_for_subscriber(&lane.input));

    let start = Instant::now();
    for number in 0..WARM_UP + COMMANDS {
        if number == WARM_UP {
            lanes.iter().for_each(|lane| drop(lane.flights.lock().unwrap().take()));
        }
        let swapped = number / ROUND % 2;
        support::sleep_until(start + PERIOD * number as u32);
        lanes[swapped].send(number);
        support::sleep_until(start + PERIOD * number as u32 + PERIOD / 2);
        lanes[1 - swapped].send(number);
    }
    std::thread::sleep(STRAGGLERS);

    let [gate, relay] = lanes.map(|lane| lane.flights.lock().unwrap().take());
    section.row("eap_executor: gate, journal, `cmd_vel`", &gate);
    section.row("bare r2r relay", &relay);
    section.goal("p50 to the relay's", gate.p50() / relay.p50(), 1.5, " ×");
    section.goal("p99", gate.p99(), 20.0, " ms");
    section
}
