//! The node library beside bare r2r: a message through a managed node, and what a node costs that has nothing to do.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ecps_ros::r2r::diagnostic_msgs::msg::DiagnosticArray;
use ecps_ros::r2r::std_msgs::msg::Float64;
use ecps_ros::{Node, Publisher, qos};
use ecps_testing::{Process, Ros};

use crate::peers;
use crate::support::{self, Flights, STRAGGLERS, Sample, Section, WARM_UP};

const MESSAGES: usize = 3000;
const PERIOD: Duration = Duration::from_millis(10);
/// Messages after which the two change places within the period.
const ROUND: usize = 100;
/// For as long the idle node is looked at.
const IDLE: usize = 20;

pub(crate) fn stage(ros: &Ros) -> Vec<Process> {
    vec![
        ros.node("mep_server", &["-r", "__ns:=/idle"]),
        ros.start_example(
            "probe",
            &["-p", "factor:=1.0", "-r", "input:=/managed/input", "-r", "output:=/managed/output"],
        ),
        peers::start(ros, &["relay-number", "/bare/input", "/bare/output"]),
    ]
}

struct Lane {
    input: Publisher<Float64>,
    flights: Arc<Mutex<Flights>>,
}

impl Lane {
    fn new(node: &mut Node<()>, namespace: &str) -> Lane {
        let flights = support::flights();
        let arrivals = Arc::clone(&flights);
        node.subscribe(&format!("/{namespace}/output"), qos::default(), move |(), number: Float64| {
            arrivals.lock().unwrap().arrive(number.data.to_bits(), Instant::now());
        })
        .unwrap();
        Lane { input: node.publisher(&format!("/{namespace}/input"), qos::default()).unwrap(), flights }
    }

    fn send(&self, number: usize) {
        let message = Float64 { data: support::numbered_speed(number as u64) };
        self.flights.lock().unwrap().depart(message.data.to_bits(), Instant::now());
        self.input.publish(&message);
    }
}

pub(crate) fn measure() -> Section {
    let mut section = Section::begin(format!(
        "From publishing a Float64 to receiving what the other node publishes on it, {MESSAGES} at 100 Hz through each, half a \
         period apart. The managed node has a lifecycle, an action, watchdogs, TF and seven services of its own. Before that, \
         with nothing to do, a `mep_server` of its own for {IDLE} s, from its diagnostics."
    ));
    let mut node = support::node();
    let costs = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let noted = Arc::clone(&costs);
    node.subscribe("/diagnostics", qos::default(), move |(), array: DiagnosticArray| {
        for status in array.status.iter().filter(|status| status.name == "idle/mep_server: node") {
            let value = |key: &str| {
                let found = status.values.iter().find(|value| value.key == key).unwrap();
                found.value.parse::<f64>().unwrap()
            };
            let mut costs = noted.lock().unwrap();
            costs.0.push(value("processor (% of a core)"));
            costs.1.push(value("memory (MiB)"));
        }
    })
    .unwrap();
    let lanes = [Lane::new(&mut node, "managed"), Lane::new(&mut node, "bare")];
    let _spinning = node.spin_in_background(());
    lanes.iter().for_each(|lane| support::wait_for_subscriber(&lane.input));

    let until = Instant::now() + Duration::from_secs(3 * IDLE as u64);
    while costs.lock().unwrap().0.len() < IDLE {
        assert!(Instant::now() < until, "the idle node has no diagnostics");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (mut processor, memory) = costs.lock().unwrap().clone();
    processor.sort_by(f64::total_cmp);

    let start = Instant::now();
    for number in 0..WARM_UP + MESSAGES {
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

    let [managed, bare]: [Sample; 2] = lanes.map(|lane| lane.flights.lock().unwrap().take());
    section.row("managed node: callback, publisher", &managed);
    section.row("bare r2r relay", &bare);
    section.goal("p50 to the relay's", managed.p50() / bare.p50(), 1.2, " ×");
    section.goal("processor time of the idle node, median", processor[processor.len() / 2], 1.0, " % of a core");
    section.goal("resident memory of the idle node", memory.last().copied().unwrap_or(f64::NAN), 40.0, " MiB");
    section
}
