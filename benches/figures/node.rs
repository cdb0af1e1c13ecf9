//! The node library beside bare r2r: a message through a managed node, and what a node costs that has nothing to do.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ecps_ros::qos;
use ecps_ros::r2r::diagnostic_msgs::msg::DiagnosticArray;
use ecps_ros::r2r::std_msgs::msg::Float64;
use ecps_testing::{Process, Ros};

use crate::peers;
use crate::support::{self, Lane, Section, race};

const MESSAGES: usize = 3000;
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
    let lanes = [("/managed/input", "/managed/output"), ("/bare/input", "/bare/output")].map(|(input, output)| {
        Lane::new(&mut node, (input, output, qos::default()), |data| Float64 { data }, |number: &Float64| number.data)
    });
    let _spinning = node.spin_in_background(());
    lanes.iter().for_each(Lane::wait_for_subscriber);

    let until = Instant::now() + Duration::from_secs(3 * IDLE as u64);
    while costs.lock().unwrap().0.len() < IDLE {
        assert!(Instant::now() < until, "the idle node has no diagnostics");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (mut processor, memory) = costs.lock().unwrap().clone();
    processor.sort_by(f64::total_cmp);

    let [managed, bare] = race(&lanes.each_ref(), MESSAGES);
    section.row("managed node: callback, publisher", &managed);
    section.row("bare r2r relay", &bare);
    section.goal("p50 to the relay's", managed.p50() / bare.p50(), 1.2, " ×");
    section.goal("processor time of the idle node, median", processor[processor.len() / 2], 1.0, " % of a core");
    section.goal("resident memory of the idle node", memory.last().copied().unwrap_or(f64::NAN), 40.0, " MiB");
    section
}
