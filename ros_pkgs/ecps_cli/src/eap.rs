//! `ecps eap`: looks at a robot's gate, stops it, leaves the stop, sets its limits and sends it actions.

mod send;

use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use ecps_core::clock::{RosClock as _, SystemRos};
use ecps_ros::r2r::ecps_msgs::msg::{Caller, GateState, JointLimit, SupervisorState};
use ecps_ros::r2r::ecps_msgs::srv::{EnableGate, ResetGate, SetLimits};
use ecps_ros::r2r::std_srvs::srv::Trigger;
use ecps_ros::{ActionError, CallError, Message, Node, NodeClock, Parameters, Spinning, StartError, qos};
use thiserror::Error;

use crate::say::say;

/// Within which a node answers.
const PATIENCE: Duration = Duration::from_secs(10);
/// Within which a supervisor tells that it is there.
const MOMENT: Duration = Duration::from_secs(2);

/// What `ecps eap` is told.
#[derive(Debug, Args)]
pub struct Eap {
    /// Namespace of the robot, as in robot1
    #[arg(long, default_value = "", global = true)]
    namespace: String,
    /// Take the time from /clock
    #[arg(long, global = true)]
    use_sim_time: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Tell what the gate does, and why
    State,
    /// Stop the robot; the stop stays until reset
    Estop,
    /// Leave a stop whose cause is gone: the supervisor's, and then, enabling first, the gate's
    Reset,
    /// Tell the limits, or lower those that are given, at most to the parameters
    Limits(Limits),
    /// Send the robot to a place, or have it grip, step its world or call a cloud service, and wait until that is done
    Send(send::Order),
}

#[derive(Debug, Args)]
struct Limits {
    /// Highest speed, m/s
    #[arg(long)]
    linear_speed: Option<f64>,
    /// Greatest acceleration, m/s²
    #[arg(long)]
    linear_acceleration: Option<f64>,
    /// Greatest jerk, m/s³
    #[arg(long)]
    linear_jerk: Option<f64>,
    /// Highest turning speed, rad/s
    #[arg(long)]
    angular_speed: Option<f64>,
    /// Greatest turning acceleration, rad/s²
    #[arg(long)]
    angular_acceleration: Option<f64>,
    /// Greatest turning jerk, rad/s³
    #[arg(long)]
    angular_jerk: Option<f64>,
    /// Joint whose limits to lower
    #[arg(long)]
    joint: Option<String>,
    /// Its least and its greatest position, rad or m
    #[arg(long, num_args = 2, value_names = ["LEAST", "GREATEST"], allow_negative_numbers = true, requires = "joint")]
    positions: Vec<f64>,
    /// Its greatest velocity, rad/s or m/s
    #[arg(long, requires = "joint")]
    velocity: Option<f64>,
    /// Its greatest effort, N m or N
    #[arg(long, requires = "joint")]
    effort: Option<f64>,
}

impl Limits {
    /// The joint that is named, and what is to change of it.
    fn joint(&self) -> Option<JointLimit> {
        let (least, greatest) = match self.positions.as_slice() {
            [least, greatest] => (*least, *greatest),
            _ => (0.0, 0.0),
        };
        Some(JointLimit {
            joint: self.joint.clone()?,
            min_position: least,
            max_position: greatest,
            max_velocity: self.velocity.unwrap_or_default(),
            max_effort: self.effort.unwrap_or_default(),
        })
    }
}

/// Why it did not work. One line.
#[derive(Debug, Error)]
pub enum EapError {
    /// ROS.
    #[error(transparent)]
    Ros(#[from] StartError),
    /// Nobody answered.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The action.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// Nothing came on a topic.
    #[error("nothing came on {topic} within {PATIENCE:?}; does the robot's namespace have that node?")]
    Silent {
        /// The topic.
        topic: String,
    },
    /// The node refused.
    #[error("{what}: {reason}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// What it said.
        reason: String,
    },
}

/// The last message of a topic.
type Last<T> = Arc<(Mutex<Option<T>>, Condvar)>;

struct Robot {
    node: Node<()>,
    clock: NodeClock,
    namespace: String,
}

impl Robot {
    fn new(options: &Eap) -> Result<Robot, EapError> {
        let arguments = ["--ros-args".to_owned(), "-p".to_owned(), format!("use_sim_time:={}", options.use_sim_time)];
        let args = ecps_ros::Args::parse(arguments).map_err(StartError::from)?;
        let node = Node::start("ecps_eap", &args, |_: &mut Parameters| Ok(()))?;
        let namespace = match options.namespace.trim_matches('/') {
            "" => String::new(),
            name => format!("/{name}"),
        };
        Ok(Robot { clock: node.clock(), node, namespace })
    }

    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.namespace)
    }

    fn executor(&self, name: &str) -> String {
        self.name(&format!("eap_executor/{name}"))
    }

    fn last<T: Message>(&mut self, topic: &str) -> Result<Last<T>, EapError> {
        let last = Last::default();
        let heard = Arc::clone(&last);
        self.node.subscribe(topic, qos::latched(), move |(), message: T| keep(&heard, message))?;
        Ok(last)
    }

    fn spin(self) -> Spinning {
        self.node.spin_in_background(())
    }
}

/// This command as a caller, now.
fn caller(clock: &NodeClock) -> Caller {
    // Unique also among several of these, and from one call to the next.
    let sequence = u64::try_from(SystemRos.now().0).unwrap_or(1);
    let stamp = ecps_ros::time(clock.now());
    // As long as somebody waits for the answer; the node may have to be found first.
    let lifetime = ecps_ros::r2r::builtin_interfaces::msg::Duration { sec: PATIENCE.as_secs() as i32, nanosec: 0 };
    Caller { id: format!("/ecps_eap/{}", std::process::id()), sequence, stamp, lifetime, ..Caller::default() }
}

fn keep<T>(last: &Last<T>, message: T) {
    *last.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
    last.1.notify_all();
}

fn wait<T: Clone>(last: &Last<T>, limit: Duration) -> Option<T> {
    let deadline = Instant::now() + limit;
    let mut message = last.0.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if message.is_some() || left.is_zero() {
            return message.clone();
        }
        message = last.1.wait_timeout(message, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn accepted(what: &'static str, code: u8, reason: String) -> Result<(), EapError> {
    if code == 0 { Ok(()) } else { Err(EapError::Refused { what, reason }) }
}

/// Runs `ecps eap`.
///
/// # Errors
/// [`EapError`], one line.
pub fn run(options: &Eap) -> Result<ExitCode, EapError> {
    let robot = Robot::new(options)?;
    match &options.verb {
        Verb::State => state(robot),
        Verb::Estop => estop(robot),
        Verb::Reset => reset(robot),
        Verb::Limits(limits) => set_limits(robot, limits),
        Verb::Send(order) => send::send(robot, order),
    }
}

fn state(mut robot: Robot) -> Result<ExitCode, EapError> {
    let topic = robot.executor("state");
    let gate = robot.last::<GateState>(&topic)?;
    let supervisor = robot.last::<SupervisorState>(&robot.name("eap_supervisor/state"))?;
    let _spinning = robot.spin();
    let gate = wait(&gate, PATIENCE).ok_or(EapError::Silent { topic })?;
    let mode = match gate.mode {
        0 => "idle",
        1 => "active",
        2 => "stopped",
        _ => "disarmed",
    };
    say!(
        "gate        {mode}{}",
        if gate.stop_cause.is_empty() { String::new() } else { format!(": {}", gate.stop_cause) }
    );
    say!(
        "supervisor  {}",
        match wait(&supervisor, MOMENT) {
            None => "none is there".to_owned(),
            Some(state) if state.watch == 2 => format!("stopped the robot: {}", state.alarm),
            Some(state) if state.watch == 1 => "watching".to_owned(),
            Some(_) => "no executor to watch".to_owned(),
        }
    );
    say!("source      {}", if gate.source.is_empty() { "none" } else { &gate.source });
    say!("queue       {} of {}", gate.queued, gate.queue_capacity);
    say!("commands    {} admitted, {} limited, {} refused", gate.admitted, gate.limited, gate.refused);
    for (reason, count) in gate.reasons.iter().zip(&gate.reason_counts) {
        say!("            {count} {reason}");
    }
    if !gate.last_refusal.is_empty() {
        say!("refused     {}", gate.last_refusal);
    }
    Ok(ExitCode::SUCCESS)
}

fn estop(mut robot: Robot) -> Result<ExitCode, EapError> {
    let client = robot.node.client::<Trigger::Service>(&robot.executor("estop"))?;
    let _spinning = robot.spin();
    let answer = client.call(&Trigger::Request {}, PATIENCE)?;
    say!("{}", answer.message);
    Ok(if answer.success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn reset(mut robot: Robot) -> Result<ExitCode, EapError> {
    let supervisor = robot.last::<SupervisorState>(&robot.name("eap_supervisor/state"))?;
    let supervisor_reset = robot.node.client::<ResetGate::Service>(&robot.name("eap_supervisor/reset"))?;
    let enable = robot.node.client::<EnableGate::Service>(&robot.executor("enable"))?;
    let reset = robot.node.client::<ResetGate::Service>(&robot.executor("reset"))?;
    let clock = robot.clock.clone();
    let _spinning = robot.spin();
    if wait(&supervisor, MOMENT).is_some_and(|state| state.watch == 2) {
        let answer = supervisor_reset.call(&ResetGate::Request { caller: caller(&clock) }, PATIENCE)?;
        accepted("the supervisor", answer.error_code, answer.error_msg)?;
        // The executor hears of it with the next heartbeats.
        std::thread::sleep(Duration::from_millis(200));
    }
    let answer = enable.call(&EnableGate::Request { caller: caller(&clock), enable: true }, PATIENCE)?;
    accepted("enabling", answer.error_code, answer.error_msg)?;
    let answer = reset.call(&ResetGate::Request { caller: caller(&clock) }, PATIENCE)?;
    accepted("the gate", answer.error_code, answer.error_msg)?;
    say!("armed; the robot moves with the next command");
    Ok(ExitCode::SUCCESS)
}

fn set_limits(mut robot: Robot, limits: &Limits) -> Result<ExitCode, EapError> {
    let topic = robot.executor("state");
    let gate = robot.last::<GateState>(&topic)?;
    let client = robot.node.client::<SetLimits::Service>(&robot.executor("set_limits"))?;
    let clock = robot.clock.clone();
    let _spinning = robot.spin();
    let now = wait(&gate, PATIENCE).ok_or(EapError::Silent { topic })?;
    let asked = SetLimits::Request {
        caller: caller(&clock),
        max_linear_speed: limits.linear_speed.unwrap_or(now.max_linear_speed),
        max_linear_acceleration: limits.linear_acceleration.unwrap_or(now.max_linear_acceleration),
        max_linear_jerk: limits.linear_jerk.unwrap_or(now.max_linear_jerk),
        max_angular_speed: limits.angular_speed.unwrap_or(now.max_angular_speed),
        max_angular_acceleration: limits.angular_acceleration.unwrap_or(now.max_angular_acceleration),
        max_angular_jerk: limits.angular_jerk.unwrap_or(now.max_angular_jerk),
        joints: limits.joint().into_iter().collect(),
    };
    let given = [
        limits.linear_speed,
        limits.linear_acceleration,
        limits.linear_jerk,
        limits.angular_speed,
        limits.angular_acceleration,
        limits.angular_jerk,
    ];
    if given.iter().any(Option::is_some) || !asked.joints.is_empty() {
        let answer = client.call(&asked, PATIENCE)?;
        accepted("the limits", answer.error_code, answer.error_msg)?;
    }
    say!(
        "linear   {} m/s, {} m/s², {} m/s³",
        asked.max_linear_speed,
        asked.max_linear_acceleration,
        asked.max_linear_jerk
    );
    say!(
        "angular  {} rad/s, {} rad/s², {} rad/s³",
        asked.max_angular_speed,
        asked.max_angular_acceleration,
        asked.max_angular_jerk
    );
    Ok(ExitCode::SUCCESS)
}
