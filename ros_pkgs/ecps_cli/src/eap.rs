//! `ecps eap`: looks at a robot's gate, stops it, leaves the stop, sets its limits and sends it actions.

mod send;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use ecps_ros::r2r::ecps_msgs::msg::{Caller, GateState, JointLimit, SupervisorState};
use ecps_ros::r2r::ecps_msgs::srv::{EnableGate, ResetGate, SetLimits};
use ecps_ros::r2r::std_srvs::srv::Trigger;
use ecps_ros::{ActionError, CallError, Message, Node, NodeClock, Spinning, StartError};
use thiserror::Error;

use crate::asking::{self, Last, PATIENCE};
use crate::say::say;

/// Name of the node that asks.
const NODE: &str = "ecps_eap";
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
    /// The joint that is named, and what is to change of it. Zeros would say "as before", which nobody types.
    fn joint(&self) -> Result<Option<JointLimit>, EapError> {
        let Some(joint) = self.joint.clone() else { return Ok(None) };
        let zero = |option| {
            let reason = format!("{option} is 0, which leaves the joint no room; name what it may do");
            EapError::Refused { what: "the limits", reason }
        };
        let (min_position, max_position) = match self.positions.as_slice() {
            [0.0, 0.0] => return Err(zero("--positions")),
            [least, greatest] => (*least, *greatest),
            _ => (0.0, 0.0),
        };
        let given = |option, value: Option<f64>| match value {
            Some(0.0) => Err(zero(option)),
            value => Ok(value.unwrap_or_default()),
        };
        let (max_velocity, max_effort) = (given("--velocity", self.velocity)?, given("--effort", self.effort)?);
        Ok(Some(JointLimit { joint, min_position, max_position, max_velocity, max_effort }))
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

struct Robot {
    node: Node<()>,
    clock: NodeClock,
    namespace: String,
}

impl Robot {
    fn new(options: &Eap) -> Result<Robot, EapError> {
        let node = asking::node(NODE, options.use_sim_time)?;
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

    fn last<T: Message + Clone>(&mut self, topic: &str) -> Result<Last<T>, EapError> {
        Ok(Last::of(&mut self.node, topic)?)
    }

    fn spin(self) -> Spinning {
        self.node.spin_in_background(())
    }
}

/// This command as a caller, now.
fn caller(clock: &NodeClock) -> Caller {
    asking::caller(NODE, clock)
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
    let gate = gate.wait(PATIENCE).ok_or(EapError::Silent { topic })?;
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
        match supervisor.wait(MOMENT) {
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
    if supervisor.wait(MOMENT).is_some_and(|state| state.watch == 2) {
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
    let joint = limits.joint()?;
    let topic = robot.executor("state");
    let gate = robot.last::<GateState>(&topic)?;
    let client = robot.node.client::<SetLimits::Service>(&robot.executor("set_limits"))?;
    let clock = robot.clock.clone();
    let _spinning = robot.spin();
    let now = gate.wait(PATIENCE).ok_or(EapError::Silent { topic })?;
    let asked = SetLimits::Request {
        caller: caller(&clock),
        max_linear_speed: limits.linear_speed.unwrap_or(now.max_linear_speed),
        max_linear_acceleration: limits.linear_acceleration.unwrap_or(now.max_linear_acceleration),
        max_linear_jerk: limits.linear_jerk.unwrap_or(now.max_linear_jerk),
        max_angular_speed: limits.angular_speed.unwrap_or(now.max_angular_speed),
        max_angular_acceleration: limits.angular_acceleration.unwrap_or(now.max_angular_acceleration),
        max_angular_jerk: limits.angular_jerk.unwrap_or(now.max_angular_jerk),
        joints: joint.into_iter().collect(),
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
