//! The supervisor as a ROS node: it publishes zero on the robot's `cmd_vel` and holds its joints when the executor does not
//! run, tells why on `~/state`, and stays so until `~/reset`.
//!
//! The work is done by a thread of its own, which needs nobody's cooperation: not that of the spin thread, and not the
//! executor's.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ecps_core::budget::{MessageKind, Profile, SAFETY_TIMEOUT};
use ecps_core::clock::{RosClock as _, SteadyClock as _, SystemSteady};
use ecps_core::id::CallerError;
use ecps_ros::r2r::ecps_msgs::msg::SupervisorState;
use ecps_ros::r2r::ecps_msgs::srv::ResetGate;
use ecps_ros::r2r::sensor_msgs::msg::JointState;
use ecps_ros::{
    Health, Managed, Node, NodeClock, ParameterError, Parameters, Publisher, Reply, Report, Spec, StartError, qos,
    realtime,
};

use crate::joint::JointConfig;
use crate::joint::limbs::Limbs;
use crate::link::{Lock, Place};
use crate::motion::Velocity;
use crate::node::actuator::CmdVel;
use crate::node::{joints, place};
use crate::supervise::{Hands, HardwareWatchdog, Listeners, Shared, run};
use crate::supervision::{Supervision, Watch};

/// The node's state.
pub struct Supervisor {
    shared: Arc<Shared>,
    place: Place,
    hands: RosHands,
    watchdog: String,
    thread: Option<JoinHandle<()>>,
    clock: NodeClock,
    request_lifetime: Duration,
    _only_one: Lock,
}

/// What the watching thread does to the robot and tells of it.
#[derive(Clone)]
struct RosHands {
    output: CmdVel,
    listeners: Listeners,
    limbs: Arc<Mutex<Limbs>>,
    state: Publisher<SupervisorState>,
    shared: Arc<Shared>,
    clock: NodeClock,
}

impl RosHands {
    fn publish_state(&self, supervision: &Supervision) {
        let age = supervision.last().map(|beat| SystemSteady.now().since(beat.sent));
        let (watch, alarm) = match supervision.watch() {
            Watch::Alone => (0, String::new()),
            Watch::Watching => (1, String::new()),
            Watch::Latched(alarm) => (2, alarm.to_string()),
        };
        let mut message = SupervisorState {
            watch,
            alarm,
            alarms: supervision.alarms(),
            heartbeat_age_ms: age.map_or(0.0, |age| age.as_secs_f64() * 1e3),
            loop_pause_ms: supervision.last().map_or(0.0, |beat| beat.pause.as_secs_f64() * 1e3),
            ..SupervisorState::default()
        };
        message.header.stamp = ecps_ros::time(self.clock.now());
        self.state.publish(&message);
    }
}

impl RosHands {
    fn limbs(&self) -> std::sync::MutexGuard<'_, Limbs> {
        self.limbs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The joints to hold; none where there are none.
fn limbs(node: &mut Node<Supervisor>, timeout: Duration) -> Result<Limbs, StartError> {
    let (groups, topics): (Vec<_>, Vec<_>) = joints::groups(node.parameters())?.into_iter().unzip();
    if groups.is_empty() {
        return Ok(Limbs::none());
    }
    let actuators = joints::outputs(node, &groups, &topics, timeout)?;
    let config = JointConfig {
        groups,
        // Nobody sends trajectories through here.
        sources: Vec::new(),
        state_timeout: node.parameters().seconds("joint_state_timeout")?,
        command_lifetime: timeout,
        future_tolerance: Duration::ZERO,
        refuse_above: 1.0,
        start_tolerance: 0.0,
    };
    node.in_any_state(|node| {
        node.subscribe("joint_states", qos::any_sensor(10), |supervisor: &mut Supervisor, message: JointState| {
            // What is malformed is the executor's to complain of.
            let _ = supervisor.hands.limbs().measured(&joints::joint_states(&message), SystemSteady.now());
        })
    })?;
    Limbs::new(config, actuators, None, None).map_err(StartError::layer)
}

impl Hands for RosHands {
    fn reach(&mut self) -> bool {
        self.listeners.hear(self.output.subscribers(), SystemSteady.now())
    }

    fn halt(&mut self) {
        if let Err(error) = self.output.publish(Velocity::ZERO) {
            tracing::error!("{error}");
        }
        if let Err(error) = self.limbs().rest_all(SystemSteady.now()) {
            tracing::error!("{error}");
        }
    }

    fn changed(&mut self, watch: &Watch) {
        match watch {
            Watch::Alone => tracing::info!("there is no executor to watch"),
            Watch::Watching => {
                // Where the joints are at the next stop is another place.
                self.limbs().forget_rest();
                tracing::info!("the executor is being watched");
            }
            Watch::Latched(alarm) => tracing::error!("the robot is stopped: {alarm}; ~/reset leaves the stop"),
        }
        self.publish_state(&self.shared.look());
    }
}

impl Managed for Supervisor {
    const NAME: &'static str = "eap_supervisor";

    fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
        for spec in [
            Spec::string("profile", "standard", "Timing budgets and limits.").choices(&[
                "edge-lite",
                "standard",
                "cloud-fleet",
            ]),
            Spec::bool("enable_stamped_cmd_vel", false, "Whether cmd_vel is TwistStamped instead of Twist."),
            Spec::double("heartbeat_timeout", 0.1, "Age of the executor's heartbeat at which the robot is stopped.")
                .unit("s")
                .range(0.05, SAFETY_TIMEOUT.as_secs_f64()),
            Spec::string(
                "watchdog_device",
                "",
                "Hardware watchdog that is fed only while all is well, as in /dev/watchdog; empty: none.",
            ),
            realtime::spec(),
        ] {
            parameters.declare(spec)?;
        }
        joints::declare_groups(parameters)
    }

    fn configure(node: &mut Node<Supervisor>) -> Result<Supervisor, StartError> {
        let profile: Profile = node.parameters().string("profile")?.parse().map_err(StartError::layer)?;
        let timeout = node.parameters().seconds("heartbeat_timeout")?;
        let place = place(node.namespace())?;
        let only_one = place.take("supervisor").map_err(StartError::layer)?;
        let stamped = node.parameters().bool("enable_stamped_cmd_vel")?;
        let shared = Arc::new(Shared::new(timeout));
        let hands = RosHands {
            output: CmdVel::new(node, stamped, timeout)?,
            listeners: Listeners::default(),
            limbs: Arc::new(Mutex::new(limbs(node, timeout)?)),
            state: node.publisher("~/state", qos::latched())?,
            shared: Arc::clone(&shared),
            clock: node.clock(),
        };
        node.service_once::<ResetGate::Service>("~/reset", |request| &request.caller, Supervisor::on_reset)?;
        node.steady_timer(Duration::from_secs(1), |supervisor: &mut Supervisor| {
            supervisor.hands.publish_state(&supervisor.shared.look());
        });
        node.diagnose("executor", Supervisor::report);
        Ok(Supervisor {
            shared,
            place,
            hands,
            watchdog: node.parameters().string("watchdog_device")?,
            thread: None,
            clock: node.clock(),
            request_lifetime: MessageKind::Eap.budget(profile).timeout,
            _only_one: only_one,
        })
    }

    fn activate(&mut self) -> Result<(), StartError> {
        let listener = self.place.listen().map_err(StartError::layer)?;
        let watchdog = match self.watchdog.as_str() {
            "" => None,
            path => Some(
                HardwareWatchdog::open(path.as_ref())
                    .map_err(|e| StartError::layer(format!("parameter 'watchdog_device': {path}: {e}")))?,
            ),
        };
        self.shared.begin();
        let (shared, mut hands) = (Arc::clone(&self.shared), self.hands.clone());
        let work = move || run(&listener, &shared, &SystemSteady, &mut hands, watchdog);
        let thread = std::thread::Builder::new().name("eap-supervisor".into()).spawn(work);
        self.thread = Some(thread.map_err(StartError::layer)?);
        Ok(())
    }

    fn deactivate(&mut self) -> Result<(), StartError> {
        self.end();
        Ok(())
    }

    fn shutdown(&mut self) {
        self.end();
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.end();
    }
}

impl Supervisor {
    /// The executor notices, and stops.
    fn end(&mut self) {
        self.shared.end();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the supervising thread panicked");
        }
    }

    fn on_reset(&mut self, request: ResetGate::Request, reply: Reply<ResetGate::Service>) {
        let refused = |error_code, error_msg| ResetGate::Response { error_code, error_msg };
        if let Err(error) = ecps_ros::caller(&request.caller).check(self.clock.now(), self.request_lifetime) {
            let code = if matches!(error, CallerError::Expired { .. }) { 4 } else { 1 };
            return reply.send(refused(code, error.to_string()));
        }
        reply.send(match self.shared.reset(SystemSteady.now()) {
            Ok(()) => {
                tracing::info!("reset by {}", request.caller.id);
                ResetGate::Response::default()
            }
            Err(error) => refused(2, format!("the stop stays: {error}")),
        });
    }

    fn report(&self, report: &mut Report) {
        let supervision = self.shared.look();
        match supervision.watch() {
            Watch::Alone => report.is(Health::Warn, "there is no executor to watch"),
            Watch::Watching if self.hands.output.subscribers() == 0 => {
                report.is(Health::Error, "nobody listens on cmd_vel")
            }
            Watch::Watching => report.is(Health::Ok, "watching"),
            Watch::Latched(alarm) => report.is(Health::Error, format!("stopped: {alarm}")),
        }
        report.add("alarms", supervision.alarms());
        if let Some(beat) = supervision.last() {
            report.add("loop pause (ms)", format!("{:.1}", beat.pause.as_secs_f64() * 1e3));
        }
    }
}
