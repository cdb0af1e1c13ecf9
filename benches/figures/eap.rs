//! `cmd_vel_in` → `cmd_vel` through the executor, at 100 Hz, beside a bare relay; how long a decision of the gate takes; and
//! how long a stop takes while somebody floods the executor with commands.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ecps_actuation::zone::Rule;
use ecps_actuation::{
    Gate, GateConfig, Limits, MeasuredState, Now, ObstacleConfig, PlanarPose, Scan, VelocityCommand, Verdict, Zone,
};
use ecps_core::clock::Steady;
use ecps_ros::r2r::ecps_msgs::srv::{EnableGate, ResetGate};
use ecps_ros::r2r::geometry_msgs::msg::{Twist, Vector3};
use ecps_ros::r2r::std_msgs::msg::Bool;
use ecps_ros::{Node, Publisher, qos};
use ecps_testing::{Process, Ros};

use crate::peers;
use crate::support::{self, Lane, STRAGGLERS, Sample, Section, race};

const COMMANDS: usize = 3000;
const DECISIONS: u64 = 20_000;
const ZONES: usize = 50;
const POINTS: usize = 1000;
const STOPS: usize = 50;
/// Within which services answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn stage(ros: &Ros) -> Vec<Process> {
    vec![
        ros.node("eap_executor", &["-r", "__ns:=/gate", "-p", "require_scan:=false"]),
        ros.node("eap_executor", &["-r", "__ns:=/flooded", "-p", "require_scan:=false"]),
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
    let lanes =
        [("/gate/cmd_vel_in", "/gate/cmd_vel"), ("/relay/cmd_vel_in", "/relay/cmd_vel")].map(|(input, output)| {
            Lane::new(&mut node, (input, output, qos::command()), speed, |twist: &Twist| twist.linear.x)
        });
    support::publish_odometry(&mut node, "/gate/odom");
    support::publish_odometry(&mut node, "/flooded/odom");
    let flooded = Flooded::new(&mut node);
    let _spinning = node.spin_in_background(());
    lanes.iter().for_each(Lane::wait_for_subscriber);

    let [gate, relay] = race(&lanes, COMMANDS);
    let stops = flooded.measure();

    let (decisions, limited) = decide();
    section.row("eap_executor: gate, journal, `cmd_vel`", &gate);
    section.row("bare r2r relay", &relay);
    section.row(format!("the gate's decision alone, {ZONES} zones and {POINTS} scan points"), &decisions);
    section.row("`stop_request` to zero on `cmd_vel`, in a flood of commands", &stops.0);
    section.goal("p50 to the relay's", gate.p50() / relay.p50(), 1.3, " ×");
    section.goal("p99", gate.p99(), 5.0, " ms");
    section.goal("decision, p99", decisions.p99() * 1e3, 20.0, " µs");
    section.goal("stop to zero, p99", stops.0.p99(), 10.0, " ms");
    section.note(format!("{limited} of the {DECISIONS} decisions lowered the speed for a zone or an obstacle."));
    section.note(format!("The flood: {:.0} commands a second, of which the topic's queue keeps 4.", stops.1));
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

/// The second executor, which is stopped while it is flooded with commands.
struct Flooded {
    commands: Publisher<Twist>,
    stop: Publisher<Bool>,
    zeros: mpsc::Receiver<Instant>,
    enable: ecps_ros::Client<EnableGate::Service>,
    reset: ecps_ros::Client<ResetGate::Service>,
}

impl Flooded {
    fn new(node: &mut Node<()>) -> Flooded {
        let (tell, zeros) = mpsc::channel();
        node.subscribe("/flooded/cmd_vel", qos::reliable(100), move |(), twist: Twist| {
            if twist == Twist::default() {
                let _ = tell.send(Instant::now());
            }
        })
        .unwrap();
        Flooded {
            commands: node.publisher("/flooded/cmd_vel_in", qos::command()).unwrap(),
            stop: node.publisher("/flooded/stop_request", qos::reliable(10)).unwrap(),
            zeros,
            enable: node.client("/flooded/eap_executor/enable").unwrap(),
            reset: node.client("/flooded/eap_executor/reset").unwrap(),
        }
    }

    /// Times to zero, and commands a second.
    fn measure(&self) -> (Sample, f64) {
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
            flooding.store(false, Ordering::Relaxed);
        });
        (sample, sent.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
    }
}
