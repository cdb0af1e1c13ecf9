//! `cmd_vel_in` → `cmd_vel` through the executor, at 100 Hz, beside a bare relay; how long a decision of the gate takes; and
//! how long a stop takes while somebody floods the executor with commands.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ecps_actuation::zone::Rule;
use ecps_actuation::{
    Gate, GateConfig, Limits, MeasuredState, Now, ObstacleConfig, PlanarPose, Scan, VelocityCommand, Verdict, Zone,
};
use ecps_core::clock::Steady;
use ecps_ros::r2r::diagnostic_msgs::msg::KeyValue;
use ecps_ros::r2r::ecps_msgs::action::ExecuteAction;
use ecps_ros::r2r::ecps_msgs::msg::{Caller, EapAction};
use ecps_ros::r2r::ecps_msgs::srv::{EnableGate, ResetGate};
use ecps_ros::r2r::geometry_msgs::msg::{Twist, Vector3};
use ecps_ros::r2r::std_msgs::msg::Bool;
use ecps_ros::realtime::RealTime;
use ecps_ros::{ActionClient, GoalId, Node, Publisher, qos};
use ecps_testing::{Process, Ros};

use crate::peers;
use crate::support::{self, Lane, STRAGGLERS, Sample, Section, race};

const COMMANDS: usize = 2000;
const DECISIONS: u64 = 20_000;
const ZONES: usize = 50;
const POINTS: usize = 1000;
const STOPS: usize = 50;
/// Actions that wait while the robot is stopped, and how often.
const QUEUED: usize = 10_000;
const FILLED: usize = 3;
/// Threads that send them.
const SENDERS: usize = 8;
/// Within which services answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Priority of the threads that send and receive, above the executor's.
const FOREMOST: i32 = 60;

pub(crate) fn stage(ros: &Ros) -> Vec<Process> {
    vec![
        ros.node("eap_executor", &["-r", "__ns:=/gate", "-p", "require_scan:=false"]),
        ros.node("eap_executor", &["-r", "__ns:=/flooded", "-p", "require_scan:=false"]),
        ros.node(
            "eap_executor",
            &["-r", "__ns:=/realtime", "-p", "require_scan:=false", "-p", "realtime_priority:=50"],
        ),
        ros.node(
            "eap_executor",
            &["-r", "__ns:=/queued", "-p", "require_scan:=false", "-p", &format!("queue_capacity:={QUEUED}")],
        ),
        peers::start(ros, &["relay-twist", "/relay/cmd_vel_in", "/relay/cmd_vel"]),
    ]
}

pub(crate) fn measure() -> Section {
    let mut section = Section::begin(format!(
        "From publishing a Twist on `cmd_vel_in` to receiving it on `cmd_vel`, {COMMANDS} at 100 Hz through each, half a \
         period apart; odometry at 50 Hz goes to the executor."
    ));
    let mut node = support::node();
    let speed = |x| Twist { linear: Vector3 { x, ..Vector3::default() }, ..Twist::default() };
    let [gate, relay, real_time] = ["gate", "relay", "realtime"].map(|place| {
        let topics = (&*format!("/{place}/cmd_vel_in"), &*format!("/{place}/cmd_vel"), qos::command());
        Lane::new(&mut node, topics, speed, |twist: &Twist| twist.linear.x)
    });
    for place in ["gate", "realtime", "flooded", "queued"] {
        support::publish_odometry(&mut node, &format!("/{place}/odom"));
    }
    let [flooded, queued] = ["flooded", "queued"].map(|place| Stopped::new(&mut node, place));
    let _spinning = node.spin_in_background(());
    [&gate, &relay, &real_time].into_iter().for_each(Lane::wait_for_subscriber);
    // What is timed is the executor and the relay, not who times them.
    let undelayed = RealTime::of_present_threads().unwrap().raise_to(FOREMOST);

    let quiet = race(&[&gate, &relay], COMMANDS);
    let load = Load::begin();
    let loaded = race(&[&gate, &relay], COMMANDS);
    let [real_time, _] = race(&[&real_time, &relay], COMMANDS);
    drop(load);
    let stops = flooded.in_a_flood();
    let queue = queued.behind_a_queue();
    let [gate, relay] = quiet;
    let [gate_loaded, relay_loaded] = loaded;

    let (decisions, limited) = decide();
    section.row("eap_executor: gate, journal, `cmd_vel`", &gate);
    section.row("bare r2r relay", &relay);
    section.row("eap_executor, both cores half loaded", &gate_loaded);
    section.row("bare r2r relay, both cores half loaded", &relay_loaded);
    section.row("eap_executor under SCHED_FIFO, both cores half loaded", &real_time);
    section.row(format!("the gate's decision alone, {ZONES} zones and {POINTS} scan points"), &decisions);
    section.row("`stop_request` to zero on `cmd_vel`, in a flood of commands", &stops.0);
    section.row(format!("the same with {QUEUED} actions waiting and a disk that stalls"), &queue.0);
    section.goal("p50 to the relay's", gate.p50() / relay.p50(), 1.3, " ×");
    section.goal("p99", gate.p99(), 5.0, " ms");
    section.goal("decision, p99", decisions.p99() * 1e3, 20.0, " µs");
    section.goal("stop to zero in a flood, p99", stops.0.p99(), 10.0, " ms");
    section.goal("stop to zero with a queue and a stalled disk, longest", queue.0.quantile_ms(1.0), 10.0, " ms");
    section.goal("jitter under SCHED_FIFO, loaded", jitter(&real_time), 2.0, " ms");
    section.goal("jitter without, loaded, to the relay's", jitter(&gate_loaded) / jitter(&relay_loaded), 1.2, " ×");
    section.note("Jitter is p99 less p50. The load: two threads that are busy for 5 ms of every 10.");
    section.note(match undelayed {
        true => "The threads that send and receive run under SCHED_FIFO throughout.",
        false => "Without the right to SCHED_FIFO the load delays the sender and the receiver too.",
    });
    section.note(format!("{limited} of the {DECISIONS} decisions lowered the speed for a zone or an obstacle."));
    section.note(format!("The flood: {:.0} commands a second, of which the topic's queue keeps 4.", stops.1));
    section.note(format!(
        "The disk: 16 MiB written and synced again and again, each taking {:.0} ms (median); a sync of 4 KiB beside it {:.0} ms.",
        queue.1.p50(),
        queue.2.p50()
    ));
    section
}

/// Decisions of a gate that has much to look at, and how many of them lowered the speed.
fn decide() -> (Sample, usize) {
    let ceiling = Limits {
        max_linear_speed: 1.0,
        max_linear_acceleration: 1.0,
        max_linear_jerk: 30.0,
        max_angular_speed: 2.0,
        max_angular_acceleration: 4.0,
        max_angular_jerk: 80.0,
    };
    let place = |i: usize| {
        let (angle, far) = (i as f64 * 2.4, 0.8 + (i % 50) as f64 * 0.06);
        [far * angle.cos(), far * angle.sin()]
    };
    // Octagons, all around and within reach.
    let zone = |i: usize| {
        let [x, y] = place(i);
        let corner = |k: i32| f64::from(k) * std::f64::consts::FRAC_PI_4;
        let corners = (0..8).map(|k| [x + 0.1 * corner(k).cos(), y + 0.1 * corner(k).sin()]).collect();
        Zone::polygon(&format!("zone {i}"), Rule::KeepOut, corners).unwrap()
    };
    let mut config = GateConfig { obstacles: Some(ObstacleConfig::default()), ..GateConfig::new(ceiling) };
    config.zones = (0..ZONES).map(zone).collect();
    let mut gate = Gate::new(config).unwrap();
    gate.arming_mut().enable(Steady::default());
    let ranges: Vec<f32> = (0..POINTS).map(|i| 0.6 + (i * 37 % 100) as f32 * 0.03).collect();
    let increment = std::f64::consts::TAU / POINTS as f64;
    let scan = Scan { angle_min: 0.0, angle_increment: increment, range_min: 0.1, range_max: 12.0, ranges: &ranges };
    let (mut sample, mut limited) = (Sample::default(), 0);
    for i in 0..DECISIONS {
        let now = Now { steady: Steady(Duration::from_millis(20 * i)), ..Now::default() };
        let state =
            MeasuredState { pose: PlanarPose { yaw: i as f64 * 0.01, ..PlanarPose::default() }, ..Default::default() };
        gate.measured(state, now.steady);
        gate.scanned(&scan, PlanarPose::default(), PlanarPose::default(), now.steady).unwrap();
        let yaw = (i % 21) as f64 * 0.2 - 2.0;
        let command =
            VelocityCommand { source: "cmd_vel_in", linear: [0.8, 0.0, 0.0], angular: [0.0, 0.0, yaw], stamp: None };
        let began = Instant::now();
        let verdict = gate.admit(&command, now);
        sample.push(began.elapsed());
        match verdict {
            Verdict::Admit(applied) => gate.applied(command.source, applied, now.steady),
            Verdict::Limit { applied, reason } => {
                limited += usize::from(["keep_out", "obstacle"].contains(&reason.name()));
                gate.applied(command.source, applied, now.steady);
            }
            Verdict::Refuse(_) => gate.halted(now.steady),
        }
    }
    (sample, limited)
}

fn jitter(sample: &Sample) -> f64 {
    sample.p99() - sample.p50()
}

/// Two threads that are busy half of the time, until this is dropped.
struct Load(Arc<AtomicBool>, Vec<JoinHandle<()>>);

impl Load {
    fn begin() -> Load {
        let goes_on = Arc::new(AtomicBool::new(true));
        let busy = |goes_on: Arc<AtomicBool>| {
            while goes_on.load(Ordering::Relaxed) {
                let until = Instant::now() + Duration::from_millis(5);
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        let thread = |_| {
            let goes_on = Arc::clone(&goes_on);
            std::thread::spawn(move || busy(goes_on))
        };
        let threads = (0..2).map(thread).collect();
        Load(goes_on, threads)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
        self.1.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// An executor that is stopped while it has much to do.
struct Stopped {
    commands: Publisher<Twist>,
    stop: Publisher<Bool>,
    zeros: mpsc::Receiver<Instant>,
    enable: ecps_ros::Client<EnableGate::Service>,
    reset: ecps_ros::Client<ResetGate::Service>,
    execute: ActionClient<ExecuteAction::Action>,
}

impl Stopped {
    fn new(node: &mut Node<()>, place: &str) -> Stopped {
        let at = |name: &str| format!("/{place}/{name}");
        let (tell, zeros) = mpsc::channel();
        node.subscribe(&at("cmd_vel"), qos::reliable(100), move |(), twist: Twist| {
            if twist == Twist::default() {
                let _ = tell.send(Instant::now());
            }
        })
        .unwrap();
        Stopped {
            commands: node.publisher(&at("cmd_vel_in"), qos::command()).unwrap(),
            stop: node.publisher(&at("stop_request"), qos::reliable(10)).unwrap(),
            zeros,
            enable: node.client(&at("eap_executor/enable")).unwrap(),
            reset: node.client(&at("eap_executor/reset")).unwrap(),
            execute: node.action_client(&at("eap_executor/execute")).unwrap(),
        }
    }

    /// Stops, adds the time to zero to `sample`, and leaves the stop.
    fn stop_once(&self, sample: &mut Sample) {
        while self.zeros.try_recv().is_ok() {}
        let asked = Instant::now();
        self.stop.publish(&Bool { data: true });
        match self.zeros.recv_timeout(STRAGGLERS) {
            Ok(zero) => sample.push(zero - asked),
            Err(_) => sample.lose(1),
        }
        self.stop.publish(&Bool { data: false });
        let deadline = Instant::now() + PATIENCE;
        loop {
            let request = EnableGate::Request { caller: support::caller(), enable: true };
            self.enable.call(&request, PATIENCE).unwrap();
            let answer = self.reset.call(&ResetGate::Request { caller: support::caller() }, PATIENCE).unwrap();
            if answer.error_code == 0 {
                break;
            }
            assert!(Instant::now() < deadline, "the reset is refused: {}", answer.error_msg);
        }
    }

    /// Times to zero while the queue is full and something else keeps the disk busy, how long that took for each of its
    /// writes, and what a small sync took beside it.
    fn behind_a_queue(&self) -> (Sample, Sample, Sample) {
        let (mut sample, mut big, mut small) = (Sample::default(), Sample::default(), Sample::default());
        let folder = tempfile::tempdir().unwrap();
        for round in 0..FILLED {
            let execute = &self.execute;
            std::thread::scope(|scope| {
                for sender in 0..SENDERS {
                    scope
                        .spawn(move || (sender..QUEUED).step_by(SENDERS).for_each(|i| wait_in_line(execute, round, i)));
                }
            });
            let busy = AtomicBool::new(true);
            std::thread::scope(|scope| {
                let hog = scope.spawn(|| stall(&folder.path().join("hog"), 16 << 20, &busy));
                let witness = scope.spawn(|| stall(&folder.path().join("witness"), 4 << 10, &busy));
                std::thread::sleep(Duration::from_millis(500));
                self.stop_once(&mut sample);
                busy.store(false, Ordering::Relaxed);
                hog.join().unwrap().into_iter().for_each(|took| big.push(took));
                witness.join().unwrap().into_iter().for_each(|took| small.push(took));
            });
        }
        (sample, big, small)
    }

    /// Times to zero, and commands a second.
    fn in_a_flood(&self) -> (Sample, f64) {
        let (flooding, sent) = (AtomicBool::new(true), AtomicU64::new(0));
        let mut sample = Sample::default();
        let began = Instant::now();
        std::thread::scope(|scope| {
            let (commands, flooding, sent) = (self.commands.clone(), &flooding, &sent);
            scope.spawn(move || {
                let mut twist = Twist::default();
                twist.linear.x = 0.3;
                while flooding.load(Ordering::Relaxed) {
                    commands.publish(&twist);
                    // About 10,000 a second.
                    if sent.fetch_add(1, Ordering::Relaxed) % 10 == 0 {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
            });
            for _ in 0..STOPS {
                std::thread::sleep(Duration::from_millis(30));
                self.stop_once(&mut sample);
            }
            flooding.store(false, Ordering::Relaxed);
        });
        (sample, sent.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
    }
}

/// Writes and syncs, while it is to; how long each took.
fn stall(path: &Path, bytes: usize, busy: &AtomicBool) -> Vec<Duration> {
    let mut file = File::create(path).unwrap();
    let mut took = Vec::new();
    while busy.load(Ordering::Relaxed) {
        let began = Instant::now();
        file.rewind().unwrap();
        file.write_all(&vec![took.len() as u8; bytes]).unwrap();
        file.sync_data().unwrap();
        took.push(began.elapsed());
    }
    took
}

/// Sends an action that starts in an hour.
fn wait_in_line(execute: &ActionClient<ExecuteAction::Action>, round: usize, number: usize) {
    let mut action =
        EapAction { spec: "eap/0.1".into(), id: format!("{round}-{number}"), kind: 10, ..EapAction::default() };
    action.set_pose.header.frame_id = "odom".into();
    action.set_pose.pose.orientation.w = 1.0;
    let start = support::ros_now().0 + 3_600_000_000_000;
    action.meta = vec![KeyValue { key: "start_at_ns".into(), value: start.to_string() }];
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(number as u64).to_le_bytes());
    id[8..].copy_from_slice(&(round as u64).to_le_bytes());
    let caller = Caller {
        lifetime: ecps_ros::r2r::builtin_interfaces::msg::Duration { sec: 10, nanosec: 0 },
        ..support::caller()
    };
    execute.send(GoalId(id), ExecuteAction::Goal { caller, action }, PATIENCE, |_| {}).unwrap();
}
