//! The swarm as a ROS node: agents on the swarm's topic, services `~/submit_task`, `~/cancel_task`, `~/report_task`, `~/set_formation`
//! and `~/set_behavior`, and `~/agents`, `~/tasks`, `~/leader`, `~/slots` and `~/markers`, latched. Velocities go out on
//! `cmd_vel_swarm`, to the robot's `eap_executor`.
//!
//! The spin thread hears and answers; a small tokio runtime carries the member of the consensus, what the leader decides, and what this
//! robot does with its tasks. Those of kind `navigate` go to the robot's `eap_executor`.

mod convert;
mod discovery;
mod drive;
mod group;
mod lead;
mod markers;
mod moving;
mod orders;
mod parameters;
mod show;
mod work;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ecps_consensus::{Outcome, Refusal};
use ecps_core::clock::{RosClock as _, Steady, SteadyClock as _, SystemSteady};
use ecps_core::id::CallerError;
use ecps_ros::r2r::ecps_msgs::action::ExecuteAction;
use ecps_ros::r2r::ecps_msgs::msg::{Caller, SwarmAgent, SwarmAgents, SwarmLeader, SwarmTasks};
use ecps_ros::r2r::ecps_msgs::srv::{CancelTask, ReportTask, SetBehavior, SetFormation, SubmitTask};
use ecps_ros::r2r::nav_msgs::msg::Odometry;
use ecps_ros::tf::Transforms;
use ecps_ros::{Managed, Node, NodeClock, ParameterError, Parameters, Publisher, StartError, qos};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use self::convert::task_from_ros;
use self::group::Group;
use self::parameters::{PATIENCE, Settings};
use self::work::Work;
use crate::agents::Registry;
use crate::movement::{Behavior, Current};
use crate::tasks::{Cancel, Code, Command, Reply, Report, What};

const INVALID: u8 = 1;
const OVERLOADED: u8 = 3;
const EXPIRED: u8 = 4;
const UNAVAILABLE: u8 = 6;
const UNKNOWN: u8 = 7;
const CONFLICT: u8 = 8;

/// How long a request without a lifetime may be acted upon.
const LIFETIME: Duration = Duration::from_secs(10);
/// Requests that may wait for the log.
const WAITING: usize = 1024;
/// Agents whose latest message waits to be heard.
const AGENTS: usize = 256;

/// What the spin thread and the tasks of the runtime share.
struct Shared {
    settings: Settings,
    clock: NodeClock,
    registry: Mutex<Registry>,
    group: Group,
    work: Work,
    /// How robots move, and since when that counts here.
    movement: Mutex<(Arc<Current>, Steady)>,
}

impl Shared {
    /// How robots move, and since when that counts here.
    fn movement(&self) -> (Arc<Current>, Steady) {
        lock(&self.movement).clone()
    }

    /// Whether they do.
    fn moves(&self) -> bool {
        lock(&self.movement).0.movement.behavior() != Behavior::Hold
    }
}

/// A lock that survives the panic of another thread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Steady time.
fn now() -> Steady {
    SystemSteady.now()
}

/// The node's state.
pub struct Coordinator {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
    waiting: Arc<Semaphore>,
    announced: discovery::Announced,
    transforms: Transforms,
    agent: Publisher<SwarmAgent>,
    agents: Publisher<SwarmAgents>,
    tasks: Publisher<SwarmTasks>,
    leader: Publisher<SwarmLeader>,
    shown: show::Shown,
    warnings: discovery::Warnings,
    moving: moving::Moving,
}

impl Managed for Coordinator {
    const NAME: &'static str = "swarm_coordinator";

    fn declare(parameters: &mut Parameters) -> Result<(), ParameterError> {
        parameters::declare(parameters)
    }

    fn configure(node: &mut Node<Coordinator>) -> Result<Coordinator, StartError> {
        configure(node)
    }

    fn activate(&mut self) -> Result<(), StartError> {
        self.shared.work.set_active(true);
        Ok(())
    }

    fn deactivate(&mut self) -> Result<(), StartError> {
        self.shared.work.set_active(false);
        Ok(())
    }

    /// Others take over at once instead of waiting for silence.
    fn shutdown(&mut self) {
        self.say_goodbye();
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        // Its threads may wait for a service that does not answer.
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(self.shared.group.stop());
            runtime.shutdown_background();
        }
    }
}

fn configure(node: &mut Node<Coordinator>) -> Result<Coordinator, StartError> {
    let settings = parameters::settings(node.parameters(), node.namespace())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("swarm")
        .enable_all()
        .build()
        .map_err(StartError::layer)?;
    let (group, epoch) = runtime.block_on(Group::join(&settings))?;
    let driver = node.action_client::<ExecuteAction::Action>("eap_executor/execute")?;
    let mut agent = settings.agent.clone();
    (agent.epoch, agent.member) = (epoch, Some(group.member_at()));
    let shared = Arc::new(Shared {
        registry: Mutex::new(Registry::new(settings.bounds.clone())),
        work: Work::new(&agent, driver),
        clock: node.clock(),
        group,
        settings,
        movement: Mutex::default(),
    });
    tracing::info!("agent '{}' in epoch {epoch}, member {} at {}", agent.id, shared.group.id(), shared.group.address());
    runtime.spawn(lead::lead(Arc::clone(&shared)));
    runtime.spawn(work::work(Arc::clone(&shared)));
    runtime.spawn(moving::agree(Arc::clone(&shared)));

    let heard = qos::latched();
    let heard = ecps_ros::r2r::QosProfile { depth: AGENTS, ..heard };
    let topic = node.parameters().string("agents_topic")?;
    // Also before activation: who is there is worth knowing before there is anything to do.
    node.in_any_state(|node| {
        node.subscribe(&topic, heard, Coordinator::on_agent)?;
        node.subscribe("odom", qos::any_sensor(1), Coordinator::on_odometry)?;
        node.steady_timer(Duration::from_millis(50), Coordinator::tick);
        node.steady_timer(moving::PERIOD, Coordinator::control);
        Ok(())
    })?;
    node.service_once::<SubmitTask::Service>("~/submit_task", |request| &request.caller, Coordinator::on_submit)?;
    node.service_once::<CancelTask::Service>("~/cancel_task", |request| &request.caller, Coordinator::on_cancel)?;
    node.service_once::<ReportTask::Service>("~/report_task", |request| &request.caller, Coordinator::on_report)?;
    node.service_once::<SetFormation::Service>(
        "~/set_formation",
        |request| &request.caller,
        Coordinator::on_formation,
    )?;
    node.service_once::<SetBehavior::Service>("~/set_behavior", |request| &request.caller, Coordinator::on_behavior)?;
    Ok(Coordinator {
        moving: moving::Moving::new(node, &shared.settings)?,
        warnings: discovery::Warnings::default(),
        announced: discovery::Announced::new(agent),
        transforms: node.transforms()?,
        waiting: Arc::new(Semaphore::new(WAITING)),
        agent: node.publisher(&topic, qos::latched())?,
        agents: node.publisher("~/agents", qos::latched())?,
        tasks: node.publisher("~/tasks", qos::latched())?,
        leader: node.publisher("~/leader", qos::latched())?,
        shown: show::Shown::default(),
        runtime: Some(runtime),
        shared,
    })
}

impl Coordinator {
    fn on_agent(&mut self, message: SwarmAgent) {
        self.hear(message);
    }

    fn on_odometry(&mut self, odometry: Odometry) {
        self.announced.locate(&odometry, &self.shared, &self.transforms);
    }

    fn tick(&mut self) {
        self.speak();
        self.show();
    }

    /// A refusal for callers that are malformed or too late.
    fn refuse(&self, caller: &Caller) -> Option<(u8, String)> {
        let error = ecps_ros::caller(caller).check(self.shared.clock.now(), LIFETIME).err()?;
        let code = if matches!(error, CallerError::Expired { .. }) { EXPIRED } else { INVALID };
        Some((code, error.to_string()))
    }

    /// Brings a request into the log; `answer` is called with what came of it, on another thread.
    fn bring(&self, caller: &Caller, what: What, answer: impl FnOnce(u8, String) + Send + 'static) {
        if let Some((code, text)) = self.refuse(caller) {
            return answer(code, text);
        }
        let place = Arc::clone(&self.waiting).try_acquire_owned();
        let (Some(runtime), Ok(place)) = (&self.runtime, place) else {
            return answer(OVERLOADED, format!("{WAITING} requests wait already; send it again later"));
        };
        let shared = Arc::clone(&self.shared);
        runtime.spawn(async move {
            let command = Command::new(shared.clock.now(), what);
            let outcome = shared.group.propose(&command, PATIENCE).await;
            drop(place);
            let (code, text) = told(outcome);
            answer(code, text);
        });
    }

    fn on_submit(&mut self, request: SubmitTask::Request, reply: ecps_ros::Reply<SubmitTask::Service>) {
        let mut task = task_from_ros(request.task);
        if task.id.is_empty() {
            task.id = id_for(&request.caller);
        }
        let id = task.id.clone();
        if let Err(error) = task.check() {
            let error_msg = error.to_string();
            return reply.send(SubmitTask::Response { error_code: INVALID, error_msg, id: String::new() });
        }
        self.bring(&request.caller, What::Submit(task), move |error_code, error_msg| {
            let taken = error_code == 0 || error_code == UNKNOWN;
            reply.send(SubmitTask::Response { error_code, error_msg, id: if taken { id } else { String::new() } });
        });
    }

    fn on_cancel(&mut self, request: CancelTask::Request, reply: ecps_ros::Reply<CancelTask::Service>) {
        self.bring(&request.caller, What::Cancel(Cancel { id: request.id }), move |error_code, error_msg| {
            reply.send(CancelTask::Response { error_code, error_msg });
        });
    }

    fn on_report(&mut self, request: ReportTask::Request, reply: ecps_ros::Reply<ReportTask::Service>) {
        let report = Report {
            task: request.id,
            award: request.award,
            outcome: request.outcome.into(),
            progress: request.progress.into(),
            result: request.result,
        };
        self.bring(&request.caller, What::Report(report), move |error_code, error_msg| {
            reply.send(ReportTask::Response { error_code, error_msg });
        });
    }
}

/// The id of a task that has none: the same for the same request, also at another coordinator.
fn id_for(caller: &Caller) -> String {
    let id = format!("{}/{}.{}.{}", caller.id, caller.sequence, caller.stamp.sec, caller.stamp.nanosec);
    if caller.sequence == 0 || id.len() > crate::agents::ID_BYTES { uuid::Uuid::now_v7().to_string() } else { id }
}

/// What came of a command, as services tell it.
fn told(outcome: Outcome<Reply>) -> (u8, String) {
    match outcome {
        Outcome::Applied { reply, .. } => {
            let code = match reply.code() {
                Code::Done => 0,
                Code::Invalid => INVALID,
                Code::Busy => OVERLOADED,
                Code::Conflict => CONFLICT,
            };
            (code, reply.message)
        }
        Outcome::Refused(Refusal::Application(reason)) => (INVALID, reason),
        Outcome::Refused(refusal @ Refusal::NotServed(_)) => (UNAVAILABLE, refusal.to_string()),
        Outcome::Unknown(reason) => (UNKNOWN, format!("it is not known whether it was taken: {reason}")),
    }
}
