//! The executor as a ROS node: action `~/execute`, topics `cmd_vel_in` → `cmd_vel`, `~/state`, and the services
//! `~/estop` (anyone may stop), `~/reset` and `~/set_limits`.
//!
//! All of it runs on the spin thread, which waits for no disk: velocities are in the kernel when they are published, and
//! discrete requests are answered by [`acknowledger`] when their records are on disk.

mod acknowledger;
mod actuator;
mod convert;
mod parameters;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use ecps_core::budget::{MessageKind, Profile};
use ecps_core::clock::{RosClock, Steady, SteadyClock, SystemRos, SystemSteady};
use ecps_core::id::CallerError;
use ecps_journal::{Identity, Journal};
use ecps_ros::r2r::ecps_msgs::action::ExecuteAction;
use ecps_ros::r2r::ecps_msgs::msg::{Caller, GateState};
use ecps_ros::r2r::ecps_msgs::srv::{ResetGate, SetLimits};
use ecps_ros::r2r::geometry_msgs::msg::{Twist, TwistStamped};
use ecps_ros::r2r::nav_msgs::msg::Odometry;
use ecps_ros::r2r::std_srvs::srv::Trigger;
use ecps_ros::{
    BudgetEvents, BudgetMeter, CancelDecision, ExecutingGoal, Managed, Node, NodeClock, ParameterError, Parameters,
    Publisher, Reply, RequestedGoal, StartError, qos,
};

use self::acknowledger::Acknowledger;
use self::actuator::CmdVel;
use crate::action::ErrorCode;
use crate::executive::{Executive, ResetOutcome, Snapshot};
use crate::gate::Verdict;
use crate::goal::{Finished, GoalId};
use crate::motion::{Limits, Now, Request, VelocityCommand};
use crate::stop::StopCause;

/// Source of the velocities on `cmd_vel_in`.
const TOPIC_SOURCE: &str = "cmd_vel_in";
/// Counters are published at most this often; a new mode at once.
const STATE_PERIOD: Duration = Duration::from_millis(100);
const EXPIRED: u8 = 4;
const INVALID: u8 = 1;

type Execute = ExecuteAction::Action;

/// The node's state. Dropping it halts the robot.
pub struct Executor {
    executive: Executive<Journal, CmdVel>,
    // After the executive, whose journal completes what this waits for.
    acknowledger: Acknowledger,
    clock: NodeClock,
    /// The ROS goal of each execution under way.
    goals: HashMap<GoalId, ExecutingGoal<Execute>>,
    meter: BudgetMeter,
    request_lifetime: Duration,
    frame: String,
    state: Publisher<GateState>,
    published: Option<(Steady, Snapshot)>,
}

impl Managed for Executor {
    const NAME: &'static str = "eap_executor";

    fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
        parameters::declare(parameters)
    }

    fn configure(node: &mut Node<Executor>) -> Result<Executor, StartError> {
        configure(node)
    }

    fn deactivate(&mut self) -> Result<(), StartError> {
        self.executive.stop(StopCause::Requested, "the executor was deactivated", now(&self.clock));
        self.settle();
        Ok(())
    }

    fn shutdown(&mut self) {
        self.executive.stop(StopCause::Shutdown, "the executor is ending", now(&self.clock));
        self.settle();
    }
}

fn configure(node: &mut Node<Executor>) -> Result<Executor, StartError> {
    let profile: Profile = node.parameters().string("profile")?.parse().map_err(StartError::layer)?;
    let config = parameters::config(node.parameters())?;
    let stamped = node.parameters().bool("enable_stamped_cmd_vel")?;
    let journal = open_journal(node.parameters(), node.namespace())?;
    let acknowledger = Acknowledger::start(journal.durability())?;
    let clock = node.clock();
    let actuator = CmdVel::new(node, stamped)?;
    let frame = config.frame.clone();
    let executive = Executive::new(config, journal, actuator, now(&clock)).map_err(StartError::layer)?;

    if stamped {
        node.subscribe("cmd_vel_in", qos::command(), |executor: &mut Executor, command: TwistStamped| {
            executor.on_velocity(&command.twist, Some(ecps_ros::stamp(&command.header.stamp)));
        })?;
    } else {
        node.subscribe("cmd_vel_in", qos::command(), |executor: &mut Executor, command: Twist| {
            executor.on_velocity(&command, None);
        })?;
    }
    // Anyone may stop at any time; and what the robot does is worth knowing before it may be moved.
    node.in_any_state(|node| {
        node.subscribe("odom", qos::any_sensor(10), Executor::on_odometry)?;
        node.service::<Trigger::Service>("~/estop", Executor::on_estop)
    })?;
    node.service_once::<ResetGate::Service>("~/reset", |request| &request.caller, Executor::on_reset)?;
    node.service_once::<SetLimits::Service>("~/set_limits", |request| &request.caller, Executor::on_set_limits)?;
    node.action_server::<Execute>("~/execute", Executor::on_goal, Executor::on_cancel)?;
    node.steady_timer(node.parameters().seconds("control_period")?, Executor::tick);
    node.steady_timer(Duration::from_millis(100), Executor::publish_feedback);
    Ok(Executor {
        executive,
        acknowledger,
        goals: HashMap::new(),
        meter: BudgetEvents::new(node, profile)?.meter(node, MessageKind::Eap),
        request_lifetime: MessageKind::Eap.budget(profile).timeout,
        frame,
        state: node.publisher("~/state", qos::latched())?,
        published: None,
        clock,
    })
}

fn open_journal(parameters: &Parameters, namespace: &str) -> Result<Journal, StartError> {
    let robot = match (parameters.string("robot")?, namespace.trim_matches('/')) {
        (given, _) if !given.is_empty() => given,
        (_, "") => std::fs::read_to_string("/proc/sys/kernel/hostname").map_err(StartError::layer)?.trim().to_owned(),
        (_, namespace) => namespace.replace('/', "_"),
    };
    let folder = match parameters.string("journal")? {
        given if !given.is_empty() => PathBuf::from(given),
        _ => {
            let home = std::env::var("HOME")
                .map_err(|_| StartError::layer("parameter 'journal' is empty, and HOME is not set: name a folder"))?;
            PathBuf::from(home).join(".ros/ecps/journal").join(&robot)
        }
    };
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let boot = uuid::Uuid::parse_str(boot.trim()).unwrap_or_default().into_bytes();
    let identity = Identity { robot, session: uuid::Uuid::now_v7().into_bytes(), boot };
    let (journal, recovered) = Journal::open(&folder, identity, SystemRos.now()).map_err(StartError::layer)?;
    tracing::info!("journal {} goes on after record {}: {:?}", folder.display(), recovered.sequence, recovered.verdict);
    Ok(journal)
}

fn now(clock: &NodeClock) -> Now {
    Now { steady: SystemSteady.now(), ros: clock.now(), wall: SystemRos.now() }
}

impl Executor {
    fn on_velocity(&mut self, twist: &Twist, stamp: Option<ecps_core::clock::Stamp>) {
        let now = now(&self.clock);
        let command = VelocityCommand {
            source: TOPIC_SOURCE,
            linear: [twist.linear.x, twist.linear.y, twist.linear.z],
            angular: [twist.angular.x, twist.angular.y, twist.angular.z],
            stamp,
        };
        let verdict = self.executive.on_velocity(&command, now);
        if matches!(verdict, Verdict::Admit(_) | Verdict::Limit { .. }) {
            // The stamp tells of the way here too; simulated time is too coarse to measure with.
            let age = stamp.filter(|stamp| !stamp.is_zero() && !self.clock.is_simulated());
            let age = age.map_or(0, |stamp| u64::try_from(now.ros.nanos_since(stamp)).unwrap_or(0));
            let started = Steady(now.steady.0.saturating_sub(Duration::from_nanos(age)));
            self.meter.record(started, SystemSteady.now());
        }
        self.settle();
    }

    fn on_odometry(&mut self, odometry: Odometry) {
        let (now, frame) = (now(&self.clock), &odometry.header.frame_id);
        let taken = convert::measured_state(&odometry)
            .map_err(|e| e.to_string())
            .and_then(|state| self.executive.on_state(frame, state, now).map_err(|e| e.to_string()));
        if let Err(reason) = taken {
            tracing::warn!("odometry refused: {reason}");
        }
    }

    fn on_estop(&mut self, _: Trigger::Request, reply: Reply<Trigger::Service>) {
        self.executive.stop(StopCause::Requested, "the service estop was called", now(&self.clock));
        reply.send(Trigger::Response { success: true, message: "stopped; ~/reset leaves the stop".into() });
        self.settle();
    }

    /// A refusal for callers that are malformed or too late.
    fn refuse(&self, caller: &Caller) -> Option<(bool, String)> {
        let error = ecps_ros::caller(caller).check(self.clock.now(), self.request_lifetime).err()?;
        Some((matches!(error, CallerError::Expired { .. }), error.to_string()))
    }

    fn on_reset(&mut self, request: ResetGate::Request, reply: Reply<ResetGate::Service>) {
        let refused = |error_code, error_msg| ResetGate::Response { error_code, error_msg };
        if let Some((expired, reason)) = self.refuse(&request.caller) {
            return reply.send(refused(if expired { EXPIRED } else { INVALID }, reason));
        }
        let caller = convert::request(&request.caller);
        match self.executive.reset(Request { caller: &request.caller.id, trace: caller }, now(&self.clock)) {
            Err(error) => reply.send(refused(error.code(), error.to_string())),
            Ok(ResetOutcome::WasRunning) => reply.send(ResetGate::Response::default()),
            Ok(ResetOutcome::Left(sequence)) => self.acknowledger.when_durable(sequence, move |synced| {
                reply.send(match synced {
                    Ok(()) => ResetGate::Response::default(),
                    Err(error) => refused(3, error.to_string()),
                });
            }),
        }
        self.settle();
    }

    fn on_set_limits(&mut self, request: SetLimits::Request, reply: Reply<SetLimits::Service>) {
        let refused = |error_code, error_msg| SetLimits::Response { error_code, error_msg };
        if let Some((expired, reason)) = self.refuse(&request.caller) {
            return reply.send(refused(if expired { EXPIRED } else { INVALID }, reason));
        }
        let limits = Limits {
            max_linear_speed: request.max_linear_speed,
            max_linear_acceleration: request.max_linear_acceleration,
            max_angular_speed: request.max_angular_speed,
            max_angular_acceleration: request.max_angular_acceleration,
        };
        let caller = Request { caller: &request.caller.id, trace: convert::request(&request.caller) };
        match self.executive.set_limits(caller, limits, now(&self.clock)) {
            Err(error) => reply.send(refused(error.code(), error.to_string())),
            Ok(sequence) => self.acknowledger.when_durable(sequence, move |synced| {
                reply.send(match synced {
                    Ok(()) => SetLimits::Response::default(),
                    Err(error) => refused(3, error.to_string()),
                });
            }),
        }
        self.settle();
    }

    /// A goal that cannot be executed is accepted and aborted, since only a result carries the reason.
    fn on_goal(&mut self, request: RequestedGoal<Execute>, goal: ExecuteAction::Goal) {
        if let Some((expired, reason)) = self.refuse(&goal.caller) {
            let code = if expired { ErrorCode::Expired } else { ErrorCode::Invalid };
            return request.accept().abort(refusal(code, reason));
        }
        let caller = Request { caller: &goal.caller.id, trace: convert::request(&goal.caller) };
        let started = convert::action(goal.action)
            .and_then(|message| self.executive.start_goal(caller, &message, now(&self.clock)));
        match started {
            Err(rejection) => request.accept().abort(refusal(rejection.code, rejection.message)),
            Ok(execution) => {
                let (acceptance, goal) = request.accept_later();
                self.goals.insert(execution, goal);
                self.acknowledger.when_durable(execution.0, move |synced| match synced {
                    Ok(()) => acceptance.tell(),
                    Err(error) => acceptance.reject(&error.to_string()),
                });
            }
        }
        self.settle();
    }

    fn on_cancel(&mut self, goal: ecps_ros::GoalId) -> CancelDecision {
        let execution = self.goals.iter().find(|(_, running)| running.id() == goal).map(|(execution, _)| *execution);
        let canceled = execution.is_some_and(|execution| self.executive.cancel(execution, now(&self.clock)));
        // Settled by the next tick, so that the client hears of the cancel before its result.
        if canceled { CancelDecision::Accept } else { CancelDecision::Reject }
    }

    fn tick(&mut self) {
        self.executive.tick(now(&self.clock));
        self.settle();
    }

    /// Tells of what came of the last call: actions that ended, and a new state.
    fn settle(&mut self) {
        while let Some(finished) = self.executive.take_finished() {
            self.report(finished);
        }
        let snapshot = self.executive.snapshot();
        let at = SystemSteady.now();
        let due = match &self.published {
            None => true,
            Some((_, before)) if before.mode != snapshot.mode || before.stop_cause != snapshot.stop_cause => true,
            Some((last, before)) if *before != snapshot => at.since(*last) >= STATE_PERIOD,
            Some((last, _)) => at.since(*last) >= Duration::from_secs(1),
        };
        if due {
            let violations = self.meter.monitor().violations();
            self.state.publish(&convert::gate_state(&snapshot, self.clock.now(), &self.frame, violations));
            self.published = Some((at, snapshot));
        }
    }

    fn report(&mut self, finished: Finished) {
        let Some(goal) = self.goals.remove(&finished.goal) else { return };
        let code = finished.code;
        let result = convert::result(finished, &self.frame);
        match code {
            ErrorCode::None => goal.succeed(result),
            ErrorCode::Canceled => match goal.canceling() {
                Ok(goal) => goal.canceled(result),
                Err(goal) => goal.abort(result),
            },
            _ => goal.abort(result),
        }
    }

    fn publish_feedback(&mut self) {
        let Some(feedback) = self.executive.feedback(now(&self.clock)) else { return };
        if let Some(goal) = self.goals.get(&feedback.goal) {
            goal.feedback(convert::feedback(&feedback, &self.frame));
        }
    }
}

fn refusal(code: ErrorCode, message: String) -> ExecuteAction::Result {
    ExecuteAction::Result { error_code: code as u16, error_msg: message, ..Default::default() }
}
