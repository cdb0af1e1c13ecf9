//! The executor as a ROS node: action `~/execute`, topics `cmd_vel_in` (and other sources) → `cmd_vel`, `~/state`, and the
//! services `~/estop` (anyone may stop), `~/enable`, `~/reset` and `~/set_limits`.
//!
//! Where `trust_level` asks for tokens, what arms, moves or changes the robot shows one that allows it; what stops it never.
//!
//! All of it runs on the spin thread, which waits for no disk: velocities are in the kernel when they are published, and
//! discrete requests are answered by [`acknowledger`] when their records are on disk.

mod acknowledger;
pub(crate) mod actuator;
mod cloud;
mod convert;
mod errands;
mod goals;
pub(crate) mod joints;
mod markers;
mod navigator;
mod parameters;
mod requests;
mod stops;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use ecps_core::budget::{MessageKind, Profile};
use ecps_core::clock::{RosClock, Stamp, Steady, SteadyClock, SystemRos, SystemSteady};
use ecps_guard::Door;
use ecps_journal::{Identity, Journal, Options, Signer as _, SoftwareSigner};
use ecps_ros::r2r::ecps_msgs::action::ExecuteAction;
use ecps_ros::r2r::ecps_msgs::msg::GateState;
use ecps_ros::r2r::ecps_msgs::srv::{EnableGate, ResetGate, SetLimits, SetZones};
use ecps_ros::r2r::geometry_msgs::msg::{Twist, TwistStamped};
use ecps_ros::r2r::nav_msgs::msg::Odometry;
use ecps_ros::r2r::sensor_msgs::msg::LaserScan;
use ecps_ros::r2r::std_srvs::srv::Trigger;
use ecps_ros::realtime::RealTime;
use ecps_ros::tf::Transforms;
use ecps_ros::{
    BudgetEvents, BudgetMeter, ExecutingGoal, Health, Managed, Node, NodeClock, ParameterError, Parameters, Publisher,
    Recovery, Report, StartError, qos,
};

use self::acknowledger::Acknowledger;
use self::actuator::CmdVel;
use self::markers::Markers;
use crate::executive::{Executive, Mode, Snapshot};
use crate::gate::Verdict;
use crate::goal::GoalId;
use crate::guardian::{Guarded, Guardian};
use crate::heartbeat::Status;
use crate::link::{Lock, Place};
use crate::motion::{Now, Request, VelocityCommand};
use crate::stop::StopCause;

/// Counters are published at most this often; a new mode at once.
const STATE_PERIOD: Duration = Duration::from_millis(100);

type Execute = ExecuteAction::Action;

/// The node's state. Dropping it halts the robot.
pub struct Executor {
    executive: Executive<Journal, CmdVel>,
    // After the executive, whose journal completes what this waits for.
    acknowledger: Acknowledger,
    clock: NodeClock,
    /// The ROS goals of each execution: more than one where a request was repeated.
    goals: HashMap<GoalId, Vec<ExecutingGoal<Execute>>>,
    meter: BudgetMeter,
    request_lifetime: Duration,
    frame: String,
    /// The robot's own frame, as odometry names it.
    base_frame: String,
    transforms: Transforms,
    guardian: Option<Guardian>,
    runner: errands::Runner,
    door: Door,
    /// Somebody activated before the supervisor watched or a topic of stop was heard.
    enable_when_ready: bool,
    /// Topics of stop that were not heard yet, and have to be.
    awaited: BTreeSet<String>,
    /// Entries of `/diagnostics` that are in error and that stop the robot.
    in_error: BTreeSet<String>,
    /// The last that was logged of messages refused.
    complaint: String,
    /// Topics that say stop.
    stopping: BTreeSet<String>,
    state: Publisher<GateState>,
    markers: Markers,
    published: Option<(Steady, Snapshot)>,
    _only_one: Lock,
}

impl Managed for Executor {
    const NAME: &'static str = "eap_executor";

    fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
        parameters::declare(parameters)
    }

    fn configure(node: &mut Node<Executor>) -> Result<Executor, StartError> {
        configure(node)
    }

    /// Arms the gate: whoever activates the node means the robot to move. After a stop it takes `~/enable` and `~/reset`.
    /// Where tokens are asked for it takes `~/enable` in any case, since whoever activates shows none.
    fn activate(&mut self) -> Result<(), StartError> {
        if self.door.asks_for_tokens() {
            tracing::info!("disarmed: trust_level {:?} asks for a token, so ~/enable has to arm", self.door.level());
            return Ok(());
        }
        if self.guardian.is_some() || !self.awaited.is_empty() {
            self.enable_when_ready = true;
            return Ok(());
        }
        self.enable("activation").map_err(StartError::layer)
    }

    fn deactivate(&mut self) -> Result<(), StartError> {
        self.enable_when_ready = false;
        let request = Request { caller: "deactivation", trace: [0; 16] };
        let disarmed = self.executive.disable(request, now(&self.clock));
        self.settle();
        disarmed.map(drop).map_err(StartError::layer)
    }

    fn shutdown(&mut self) {
        self.executive.stop(StopCause::Shutdown, "the executor is ending", now(&self.clock));
        self.settle();
    }

    /// After a panic: the supervisor is to see this process go, and to keep the robot stopped.
    fn recover(&mut self) -> Recovery {
        self.guardian = None;
        Recovery::Finalize
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        if let Some(guardian) = &mut self.guardian {
            guardian.leave(SystemSteady.now());
        }
    }
}

fn configure(node: &mut Node<Executor>) -> Result<Executor, StartError> {
    let middleware = RealTime::of_present_threads()?;
    let profile: Profile = node.parameters().string("profile")?.parse().map_err(StartError::layer)?;
    let config = parameters::config(node.parameters())?;
    let stamped = node.parameters().bool("enable_stamped_cmd_vel")?;
    let journal = open_journal(node.parameters(), node.namespace())?;
    let place = place(node.namespace())?;
    let only_one = place.take("executor").map_err(StartError::layer)?;
    let acknowledger = Acknowledger::start(journal.durability())?;
    let clock = node.clock();
    let actuator = CmdVel::new(node, stamped, config.heartbeat_timeout)?;
    let frame = config.frame.clone();
    let guarded = node.parameters().bool("require_supervisor")?;
    let guardian = guarded.then(|| Guardian::new(place, config.heartbeat_timeout));
    let too_late = config.heartbeat_timeout;
    let runner = errands::Runner::new(node, &frame)?;
    let mut executive = Executive::new(config, journal, actuator, now(&clock)).map_err(StartError::layer)?;
    if let Some(made) = joints::made(node.parameters())? {
        made.listen(node, too_late, |config, actuators, gripper, reach| {
            executive.attach(config, actuators, gripper, reach)
        })?;
    }

    let door = Door::open(node)?;
    if door.asks_for_tokens() {
        executive.require_tokens();
        if !node.parameters().string("navigate_action")?.is_empty() {
            let text = "parameter 'navigate_action' is set: its velocities come on a topic, which carries no token, and \
                        'trust_level' asks for one";
            return Err(StartError::layer(text));
        }
    }

    for source in node.parameters().strings("sources")? {
        let (topic, name) = (source.clone(), source);
        if stamped {
            node.subscribe(&topic, qos::command(), move |executor: &mut Executor, command: TwistStamped| {
                executor.on_velocity(&name, &command.twist, Some(ecps_ros::stamp(&command.header.stamp)));
            })?;
        } else {
            node.subscribe(&topic, qos::command(), move |executor: &mut Executor, command: Twist| {
                executor.on_velocity(&name, &command, None);
            })?;
        }
    }
    let transforms = node.transforms()?;
    // Anyone may stop at any time; and what the robot does is worth knowing before it may be moved.
    node.in_any_state(|node| {
        node.subscribe("odom", qos::any_sensor(10), Executor::on_odometry)?;
        if node.parameters().bool("require_scan")? {
            node.subscription("scan", qos::any_sensor(1)).latest(Executor::on_scan)?;
        }
        stops::listen(node)?;
        node.service::<Trigger::Service>("~/estop", Executor::on_estop)?;
        // Heartbeats too, since a supervisor would miss them.
        node.steady_timer(node.parameters().seconds("control_period")?, Executor::tick);
        Ok(())
    })?;
    node.service_once::<EnableGate::Service>("~/enable", |request| &request.caller, Executor::on_enable)?;
    node.service_once::<ResetGate::Service>("~/reset", |request| &request.caller, Executor::on_reset)?;
    node.service_once::<SetLimits::Service>("~/set_limits", |request| &request.caller, Executor::on_set_limits)?;
    node.service_once::<SetZones::Service>("~/set_zones", |request| &request.caller, Executor::on_set_zones)?;
    node.action_server::<Execute>("~/execute", Executor::on_goal, Executor::on_cancel)?;
    node.steady_timer(Duration::from_millis(100), Executor::publish_feedback);
    node.diagnose("gate", Executor::report);
    middleware.raise(node.parameters())?;
    Ok(Executor {
        executive,
        acknowledger,
        goals: HashMap::new(),
        meter: BudgetEvents::new(node, profile)?.meter(node, MessageKind::Eap),
        request_lifetime: MessageKind::Eap.budget(profile).timeout,
        frame,
        base_frame: String::new(),
        transforms,
        guardian,
        runner,
        door,
        enable_when_ready: false,
        awaited: stops::awaited(node.parameters())?,
        in_error: BTreeSet::new(),
        complaint: String::new(),
        stopping: BTreeSet::new(),
        markers: Markers::new(node)?,
        state: node.publisher("~/state", qos::latched())?,
        published: None,
        clock,
        _only_one: only_one,
    })
}

/// Where the executor and the supervisor of the robot meet.
pub(crate) fn place(namespace: &str) -> Result<Place, StartError> {
    let domain = std::env::var("ROS_DOMAIN_ID").ok().and_then(|id| id.parse().ok()).unwrap_or(0);
    Place::of_robot(domain, namespace).map_err(StartError::layer)
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
    let key = match parameters.string("journal_key")? {
        given if !given.is_empty() => PathBuf::from(given),
        _ => {
            let mut beside = folder.clone().into_os_string();
            beside.push(".key");
            PathBuf::from(beside)
        }
    };
    let signer = SoftwareSigner::load_or_generate(&identity.robot, &key).map_err(StartError::layer)?;
    tracing::info!("journal {} is signed by {}", folder.display(), signer.verifier());
    let options = Options { signer: Some(Box::new(signer)), ..parameters::journal(parameters)? };
    let (journal, recovered) =
        Journal::open_with(&folder, identity, SystemRos.now(), options).map_err(StartError::layer)?;
    tracing::info!("it goes on after record {}: {}", recovered.sequence, recovered.verdict);
    Ok(journal)
}

fn now(clock: &NodeClock) -> Now {
    Now { steady: SystemSteady.now(), ros: clock.now(), wall: SystemRos.now() }
}

impl Executor {
    fn on_velocity(&mut self, source: &str, twist: &Twist, stamp: Option<Stamp>) {
        let now = now(&self.clock);
        let command = VelocityCommand {
            source,
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
        match taken {
            Ok(_) if self.base_frame != odometry.child_frame_id => self.base_frame = odometry.child_frame_id,
            Ok(_) => {}
            Err(reason) => self.complain(format!("odometry refused: {reason}")),
        }
    }

    /// A scanner's place on the robot does not change, so its newest transform will do.
    fn on_scan(&mut self, scan: LaserScan) {
        let frame = &scan.header.frame_id;
        let stamp = ecps_ros::stamp(&scan.header.stamp);
        let taken =
            self.transforms.lookup(&self.base_frame, frame, Stamp::default()).map_err(|e| e.to_string()).and_then(
                |mount| {
                    let (mount, now) = (convert::planar(&mount), now(&self.clock));
                    self.executive.on_scan(&convert::scan(&scan), mount, stamp, now).map_err(|e| e.to_string())
                },
            );
        if let Err(reason) = taken {
            self.complain(format!("scan refused: {reason}"));
        }
    }

    /// Logs what is wrong, once: at 50 messages a second the log would hold nothing else.
    fn complain(&mut self, complaint: String) {
        if self.complaint != complaint {
            tracing::warn!("{complaint}");
            self.complaint = complaint;
        }
    }

    fn enable(&mut self, caller: &str) -> Result<(), String> {
        let enabled = self.executive.enable(Request { caller, trace: [0; 16] }, now(&self.clock));
        self.settle();
        enabled.map(drop).map_err(|e| e.to_string())
    }

    fn tick(&mut self) {
        self.executive.tick(now(&self.clock));
        if self.is_guarded()
            && self.awaited.is_empty()
            && std::mem::take(&mut self.enable_when_ready)
            && let Err(reason) = self.enable("activation")
        {
            tracing::error!("{reason}");
        }
        self.run_errands();
        self.settle();
    }

    /// Beats once more, and tells whether a supervisor watches where one has to; stops if not.
    fn is_guarded(&mut self) -> bool {
        let Some(guardian) = &mut self.guardian else { return true };
        let status = match self.executive.mode() {
            Mode::Idle | Mode::Active => Status::Running,
            Mode::Stopped | Mode::Disarmed => Status::Stopped,
        };
        let guarded = guardian.tick(status, SystemSteady.now());
        let now = now(&self.clock);
        match &guarded {
            Guarded::Yes => self.executive.set_present(StopCause::Supervisor, false, "", now),
            // The gate is disarmed and waits for a supervisor.
            Guarded::No(_) if self.enable_when_ready => {}
            Guarded::No(why) => self.executive.set_present(StopCause::Supervisor, true, why, now),
        }
        matches!(guarded, Guarded::Yes)
    }

    /// Tells of what came of the last call: actions that ended, and a new state.
    fn settle(&mut self) {
        while let Some(finished) = self.executive.take_finished() {
            self.finish(finished);
        }
        let at = SystemSteady.now();
        let snapshot = self.executive.snapshot(Now { steady: at, ..Now::default() });
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
            self.markers.publish(self.executive.gate(), &self.frame, &self.base_frame);
        }
    }

    fn report(&self, report: &mut Report) {
        let snapshot = self.executive.snapshot(now(&self.clock));
        match snapshot.mode {
            Mode::Stopped => report.is(Health::Error, format!("stopped: {}", snapshot.stop_cause)),
            Mode::Disarmed if self.enable_when_ready => match self.awaited.first() {
                Some(topic) => report.is(Health::Warn, format!("waits for {topic}")),
                None => report.is(Health::Warn, "waits for eap_supervisor"),
            },
            Mode::Disarmed => report.is(Health::Warn, "disarmed"),
            Mode::Idle | Mode::Active if snapshot.queued == snapshot.queue_capacity => {
                report.is(Health::Warn, "no more actions fit in the queue");
            }
            Mode::Idle | Mode::Active => report.is(Health::Ok, "armed"),
        }
        report.add("source", snapshot.source);
        report.add("queued", snapshot.queued);
        report.add("admitted", snapshot.admitted);
        report.add("limited", snapshot.limited);
        report.add("refused", snapshot.refused);
        for (reason, count) in snapshot.reasons {
            report.add(reason.name(), count);
        }
        report.add("last refusal", snapshot.last_refusal);
    }
}
