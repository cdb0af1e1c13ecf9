//! A node that uses every part of the node library, for peers to try.

use std::collections::BTreeMap;
use std::time::Duration;

use ecps_core::clock::{RosClock, Stamp, Steady, SteadyClock, SystemSteady};
use ecps_ros::r2r::ecps_msgs::action::ExecuteAction;
use ecps_ros::r2r::ecps_msgs::srv::ResetGate;
use ecps_ros::r2r::std_msgs::msg::{Float64, String as Text};
use ecps_ros::r2r::std_srvs::srv::Trigger;
use ecps_ros::tf::Transforms;
use ecps_ros::{
    CancelDecision, ExecutingGoal, GoalId, Health, Liveliness, Managed, Node, NodeClock, ParameterError, Parameters,
    Publisher, Recovery, Reply, RequestedGoal, Spec, StartError, StreamMeter, Value, qos,
};

type Execute = ExecuteAction::Action;

/// A goal under way, and when it ends.
struct Work {
    goal: ExecutingGoal<Execute>,
    until: Steady,
}

/// The state.
pub(crate) struct Probe {
    factor: f64,
    recovery: Recovery,
    fails_to_activate: bool,
    clock: NodeClock,
    input: StreamMeter,
    transforms: Transforms,
    work: BTreeMap<GoalId, Work>,
    acts: u64,
    output: Publisher<Float64>,
    ticks: Publisher<Float64>,
    events: Publisher<Text>,
}

impl Managed for Probe {
    const NAME: &'static str = "probe";

    fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
        for spec in [
            Spec::double("factor", 2.0, "What readings are multiplied by; 5 is vetoed.").range(-10.0, 10.0).dynamic(),
            Spec::integer("level", 3, "A whole number.").range(1.0, 5.0).dynamic(),
            Spec::doubles("gains", &[1.0, 0.5], "Three gains.").unit("1/s").range(0.0, 100.0).dynamic(),
            Spec::strings("names", &["a", "b"], "Names.").dynamic(),
            Spec::new("flags", Value::BoolArray(vec![true]), "Truth values.").dynamic(),
            Spec::new("sizes", Value::IntegerArray(vec![1, 2]), "Sizes.").dynamic(),
            Spec::string("mode", "walk", "A gait.").choices(&["walk", "trot"]).dynamic(),
            Spec::string("serial", "0001", "What cannot change."),
            Spec::string("fail", "never", "Where the node fails on purpose.")
                .choices(&["never", "configure", "activate"])
                .dynamic(),
            Spec::bool("recovers", false, "Whether the node goes on after an error."),
        ] {
            parameters.declare(spec)?;
        }
        Ok(())
    }

    fn configure(node: &mut Node<Probe>) -> Result<Probe, StartError> {
        let failure = node.parameters().string("fail")?;
        let events: Publisher<Text> = node.publisher("~/events", qos::reliable(100))?;
        if failure == "configure" {
            return Err(StartError::layer("it fails to be configured, as it was told to"));
        }
        let fails_to_activate = failure == "activate";
        let input = node
            .subscription("input", qos::default())
            .deadline(Duration::from_millis(500), |probe: &mut Probe, missed| {
                probe.tell(format!("missed {}", missed.total))
            })
            .liveliness(Duration::from_secs(1), |probe: &mut Probe, change| match change {
                Liveliness::Alive => probe.tell("alive"),
                Liveliness::Lost => probe.tell("lost"),
            })
            .handle(|probe, reading: Float64| {
                probe.output.publish(&Float64 { data: reading.data * probe.factor });
            })?;
        node.timer(Duration::from_secs(1), |probe: &mut Probe| {
            let Stamp(nanos) = probe.clock.now();
            probe.ticks.publish(&Float64 { data: nanos as f64 / 1e9 });
        });
        node.steady_timer(Duration::from_millis(20), Probe::work);
        node.action_server::<Execute>("~/execute", Probe::on_goal, Probe::on_cancel)?;
        node.service_once::<ResetGate::Service>(
            "~/act",
            |request| &request.caller,
            |probe: &mut Probe, _, reply| {
                probe.acts += 1;
                reply.send(ResetGate::Response { error_code: 0, error_msg: probe.acts.to_string() });
            },
        )?;
        node.in_any_state(|node| {
            node.service::<Trigger::Service>("~/acts", |probe: &mut Probe, _, reply| {
                say(reply, true, probe.acts.to_string());
            })
        })?;
        node.service::<Trigger::Service>("~/where", |probe: &mut Probe, _, reply| {
            match probe.transforms.lookup("map", "tool", Stamp(0)) {
                Ok(found) => {
                    let [x, y, z] = found.translation.vector.into();
                    say(reply, true, format!("{x:.3} {y:.3} {z:.3}"));
                }
                Err(error) => say(reply, false, error.to_string()),
            }
        })?;
        node.service::<Trigger::Service>("~/panic", |_: &mut Probe, _, reply| {
            say(reply, true, "now");
            panic!("as it was told to");
        })?;
        node.service::<Trigger::Service>("~/panic_thread", |_: &mut Probe, _, reply| {
            say(reply, true, "now");
            std::thread::spawn(|| panic!("a thread, as it was told to"));
        })?;
        node.service::<Trigger::Service>("~/warn", |_: &mut Probe, _, reply| {
            (0..100).for_each(|line| tracing::warn!("a warning, number {line}"));
            tracing::debug!("a detail");
            say(reply, true, "warned");
        })?;
        node.on_parameters(|probe: &mut Probe, changes| {
            for (name, value) in changes {
                match (name.as_str(), value) {
                    ("factor", Value::Double(5.0)) => return Err("a factor of 5 is vetoed by the node".into()),
                    ("factor", Value::Double(factor)) => probe.factor = *factor,
                    _ => {}
                }
            }
            Ok(())
        });
        node.diagnose("factor", |probe: &Probe, report| {
            report.add("factor", probe.factor);
            if probe.factor < 0.0 {
                report.is(Health::Warn, "the factor is negative");
            }
        });
        let parameters = node.parameters();
        let recovery = if parameters.bool("recovers")? { Recovery::Unconfigure } else { Recovery::Finalize };
        Ok(Probe {
            factor: parameters.double("factor")?,
            recovery,
            fails_to_activate,
            clock: node.clock(),
            input,
            transforms: node.transforms()?,
            work: BTreeMap::new(),
            acts: 0,
            output: node.publisher("output", qos::default())?,
            ticks: node.publisher("~/ticks", qos::default())?,
            events,
        })
    }

    fn activate(&mut self) -> Result<(), StartError> {
        if self.fails_to_activate {
            return Err(StartError::layer("it fails to be activated, as it was told to"));
        }
        self.tell("activated");
        Ok(())
    }

    fn deactivate(&mut self) -> Result<(), StartError> {
        self.tell("deactivated");
        Ok(())
    }

    fn shutdown(&mut self) {
        self.tell(format!("safe after {} messages", self.input.counters().received));
        for (_, work) in std::mem::take(&mut self.work) {
            work.goal.abort(result(5, "the node is ending"));
        }
    }

    fn recover(&mut self) -> Recovery {
        self.recovery
    }
}

fn say(reply: Reply<Trigger::Service>, success: bool, message: impl Into<String>) {
    reply.send(Trigger::Response { success, message: message.into() });
}

fn result(error_code: u16, text: &str) -> ExecuteAction::Result {
    ExecuteAction::Result { error_code, error_msg: text.into(), ..ExecuteAction::Result::default() }
}

impl Probe {
    fn tell(&self, event: impl Into<String>) {
        self.events.publish(&Text { data: event.into() });
    }

    /// A goal lasts as long as its `sim.duration_s`; negative ones are rejected. One named "next" takes the place of all
    /// others, and one that lasts longer than a minute is not to be canceled.
    fn on_goal(&mut self, request: RequestedGoal<Execute>, goal: ExecuteAction::Goal) {
        let Ok(lasts) = Duration::try_from_secs_f64(goal.action.sim.duration_s) else {
            return request.reject("it lasts less than nothing");
        };
        if goal.action.id == "next" {
            for (_, work) in std::mem::take(&mut self.work) {
                work.goal.abort(result(7, "another goal took its place"));
            }
        }
        let (goal, until) = (request.accept(), Steady(SystemSteady.now().0 + lasts));
        self.work.insert(goal.id(), Work { goal, until });
    }

    fn on_cancel(&mut self, id: GoalId) -> CancelDecision {
        match self.work.get_mut(&id) {
            Some(work) if work.until.since(SystemSteady.now()) > Duration::from_secs(60) => CancelDecision::Reject,
            Some(work) => {
                work.until = SystemSteady.now();
                CancelDecision::Accept
            }
            None => CancelDecision::Reject,
        }
    }

    fn work(&mut self) {
        let now = SystemSteady.now();
        let ended: Vec<GoalId> = self.work.iter().filter(|(_, work)| work.until <= now).map(|(id, _)| *id).collect();
        for work in self.work.values() {
            work.goal.feedback(ExecuteAction::Feedback::default());
        }
        for id in ended {
            let Some(Work { goal, .. }) = self.work.remove(&id) else { continue };
            match goal.canceling() {
                Ok(goal) => goal.canceled(result(6, "canceled")),
                Err(goal) => goal.succeed(result(0, "done")),
            }
        }
    }
}
