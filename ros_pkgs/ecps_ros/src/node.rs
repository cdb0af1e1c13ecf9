//! The node runtime: one thread that spins, drains every stream after each spin, and runs due timers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ecps_core::clock::{RosClock, Stamp, Steady, SteadyClock, SystemRos, SystemSteady};
use futures::{FutureExt, Stream, StreamExt};
use r2r::QosProfile;
use thiserror::Error;

use crate::args::{Args, ArgsError};
use crate::client::Client;
use crate::interface::{Message, Service};
use crate::parameter::{self, ParameterError, Parameters, Spec, Value};
use crate::publisher::{CdrPublisher, Publisher};
use crate::service::{Once, Reply};
use crate::{log, qos};

/// Longest wait of the spin thread: how late a signal may be seen.
const IDLE: Duration = Duration::from_millis(100);

/// Why a node does not start. One line.
#[derive(Debug, Error)]
pub enum StartError {
    /// The arguments cannot be read.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// A parameter is refused.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// ROS refused something.
    #[error("{what}: {reason}")]
    Ros {
        /// What was asked of it.
        what: String,
        /// What it said.
        reason: String,
    },
    /// The layer's own part failed.
    #[error("{0}")]
    Layer(String),
}

impl StartError {
    /// An error of the layer's own, in one line.
    pub fn layer(error: impl std::fmt::Display) -> StartError {
        StartError::Layer(error.to_string())
    }
}

/// ROS time as the node's parameters want it: wall time, or `/clock` when `use_sim_time` is set.
#[derive(Debug, Clone, Default)]
pub struct NodeClock {
    simulated: Option<Arc<AtomicI64>>,
}

impl NodeClock {
    /// Whether time comes from `/clock`.
    pub fn is_simulated(&self) -> bool {
        self.simulated.is_some()
    }
}

impl RosClock for NodeClock {
    fn now(&self) -> Stamp {
        match &self.simulated {
            Some(nanos) => Stamp(nanos.load(Ordering::Acquire)),
            None => SystemRos.now(),
        }
    }
}

type OnChange<S> = Box<dyn FnMut(&mut S, &[(String, Value)]) -> Result<(), String> + Send>;

/// What the parameter services work on.
pub(crate) struct Core<S> {
    pub(crate) parameters: Parameters,
    on_change: Option<OnChange<S>>,
}

impl<S> Core<S> {
    /// Sets checked values, all or none: the node's own code may refuse them.
    pub(crate) fn apply(&mut self, state: &mut S, changes: Vec<(String, Value)>) -> Result<(), String> {
        if let Some(on_change) = &mut self.on_change {
            on_change(state, &changes)?;
        }
        for (name, value) in changes {
            self.parameters.set(&name, value);
        }
        Ok(())
    }
}

type Poll<S> = Box<dyn FnMut(&mut Core<S>, &mut S) + Send>;
type Hook<S> = Box<dyn FnMut(&mut S) + Send>;

struct Timer<S> {
    period: Duration,
    due: Steady,
    run: Hook<S>,
}

/// A ROS node with callbacks on a state `S`.
pub struct Node<S> {
    ros: r2r::Node,
    fully_qualified_name: String,
    clock: NodeClock,
    core: Core<S>,
    polls: Vec<Poll<S>>,
    timers: Vec<Timer<S>>,
    on_shutdown: Option<Hook<S>>,
}

fn ros_error(what: impl Into<String>) -> impl FnOnce(r2r::Error) -> StartError {
    let what = what.into();
    move |error| StartError::Ros { what, reason: error.to_string() }
}

impl<S: 'static> Node<S> {
    /// Makes the node `default_name` (unless remapped) with the parameters that `declare` describes.
    pub fn start(
        default_name: &str,
        args: &Args,
        declare: impl FnOnce(&mut Parameters) -> Result<(), ParameterError>,
    ) -> Result<Node<S>, StartError> {
        let fully_qualified_name = args.fully_qualified_name(default_name);
        let mut parameters = Parameters::new(args.overrides(&fully_qualified_name)?);
        declare_all(&mut parameters, declare)?;
        parameters.refuse_unknown()?;
        let use_sim_time = parameters.bool("use_sim_time")?;

        let ros = make_ros_node(default_name)?;
        let simulated = use_sim_time.then(Arc::<AtomicI64>::default);
        let mut node = Node {
            fully_qualified_name: ros.fully_qualified_name().map_err(ros_error("node name"))?,
            ros,
            clock: NodeClock { simulated: simulated.clone() },
            core: Core { parameters, on_change: None },
            polls: Vec::new(),
            timers: Vec::new(),
            on_shutdown: None,
        };
        if let Some(nanos) = simulated {
            node.subscribe("/clock", qos::clock(), move |_, clock: r2r::rosgraph_msgs::msg::Clock| {
                nanos.store(crate::convert::stamp(&clock.clock).0, Ordering::Release);
            })?;
        }
        parameter::serve(&mut node)?;
        Ok(node)
    }

    /// Name with namespace.
    pub fn fully_qualified_name(&self) -> &str {
        &self.fully_qualified_name
    }

    /// The namespace, "/" at the root.
    pub fn namespace(&self) -> &str {
        match self.fully_qualified_name.rsplit_once('/') {
            Some(("", _)) | None => "/",
            Some((namespace, _)) => namespace,
        }
    }

    /// The node's parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.core.parameters
    }

    /// ROS time.
    pub fn clock(&self) -> NodeClock {
        self.clock.clone()
    }

    /// A publisher on `topic`.
    pub fn publisher<T>(&mut self, topic: &str, qos: QosProfile) -> Result<Publisher<T>, StartError>
    where
        T: Message,
    {
        let inner = self.ros.create_publisher::<T>(topic, qos).map_err(ros_error(format!("topic '{topic}'")))?;
        Ok(Publisher::new(inner, topic))
    }

    /// A publisher of serialized messages of `type_name` ("sensor_msgs/msg/LaserScan"); only types compiled in are known.
    pub fn cdr_publisher(&mut self, topic: &str, type_name: &str, qos: QosProfile) -> Result<CdrPublisher, StartError> {
        let what = format!("topic '{topic}' of type '{type_name}'");
        let inner = self.ros.create_publisher_untyped(topic, type_name, qos).map_err(ros_error(what))?;
        Ok(CdrPublisher::new(inner))
    }

    /// Calls `handler` on the spin thread for each message.
    pub fn subscribe<T>(
        &mut self,
        topic: &str,
        qos: QosProfile,
        handler: impl FnMut(&mut S, T) + Send + 'static,
    ) -> Result<(), StartError>
    where
        T: Message,
    {
        let stream = self.ros.subscribe::<T>(topic, qos).map_err(ros_error(format!("topic '{topic}'")))?;
        self.drain(stream, handler);
        Ok(())
    }

    /// Calls `handler` on the spin thread for each message of `type_name` ("sensor_msgs/msg/LaserScan"), as CDR.
    pub fn subscribe_cdr(
        &mut self,
        topic: &str,
        type_name: &str,
        qos: QosProfile,
        handler: impl FnMut(&mut S, Vec<u8>) + Send + 'static,
    ) -> Result<(), StartError> {
        let what = format!("topic '{topic}' of type '{type_name}'");
        let stream = self.ros.subscribe_raw(topic, type_name, qos).map_err(ros_error(what))?;
        self.drain(stream, handler);
        Ok(())
    }

    /// r2r hands over one message per stream and spin, in a channel of 10 that loses what does not fit. Emptying it
    /// after every spin keeps it from filling.
    fn drain<T: 'static>(
        &mut self,
        mut items: impl Stream<Item = T> + Unpin + Send + 'static,
        mut handler: impl FnMut(&mut S, T) + Send + 'static,
    ) {
        self.polls.push(Box::new(move |_, state| {
            while let Some(Some(item)) = items.next().now_or_never() {
                handler(state, item);
            }
        }));
    }

    /// A service answered at once, with the parameters at hand.
    pub(crate) fn raw_service<T>(
        &mut self,
        name: &str,
        mut handler: impl FnMut(&mut Core<S>, &mut S, T::Request) -> T::Response + Send + 'static,
    ) -> Result<(), StartError>
    where
        T: Service,
    {
        let mut requests =
            self.ros.create_service::<T>(name, qos::services()).map_err(ros_error(format!("service '{name}'")))?;
        self.polls.push(Box::new(move |core, state| {
            while let Some(Some(request)) = requests.next().now_or_never() {
                let response = handler(core, state, request.message.clone());
                Reply::plain(request).send(response);
            }
        }));
        Ok(())
    }

    /// A service whose repeated requests do no harm. The handler may keep the reply and answer later, from any thread.
    pub fn service<T>(
        &mut self,
        name: &str,
        handler: impl FnMut(&mut S, T::Request, Reply<T>) + Send + 'static,
    ) -> Result<(), StartError>
    where
        T: Service,
    {
        self.service_with_key(name, |_| None, handler)
    }

    /// A service that acts once per caller and sequence, and repeats its first answer to a request sent again.
    pub fn service_once<T>(
        &mut self,
        name: &str,
        caller: impl Fn(&T::Request) -> &r2r::ecps_msgs::msg::Caller + Send + 'static,
        handler: impl FnMut(&mut S, T::Request, Reply<T>) + Send + 'static,
    ) -> Result<(), StartError>
    where
        T: Service,
    {
        self.service_with_key(name, move |request| crate::convert::caller(caller(request)).key(), handler)
    }

    fn service_with_key<T>(
        &mut self,
        name: &str,
        key: impl Fn(&T::Request) -> Option<ecps_core::id::RequestKey> + Send + 'static,
        mut handler: impl FnMut(&mut S, T::Request, Reply<T>) + Send + 'static,
    ) -> Result<(), StartError>
    where
        T: Service,
    {
        let mut requests =
            self.ros.create_service::<T>(name, qos::services()).map_err(ros_error(format!("service '{name}'")))?;
        let once = Once::<T>::new();
        self.polls.push(Box::new(move |_, state| {
            while let Some(Some(request)) = requests.next().now_or_never() {
                let message = request.message.clone();
                let key = key(&message);
                if let Some(reply) = once.admit(request, key) {
                    handler(state, message, reply);
                }
            }
        }));
        Ok(())
    }

    /// A client that other threads call.
    pub fn client<T>(&mut self, service: &str) -> Result<Client<T>, StartError>
    where
        T: Service,
    {
        let inner =
            self.ros.create_client::<T>(service, qos::services()).map_err(ros_error(format!("client '{service}'")))?;
        Ok(Client::new(inner, service))
    }

    /// Calls `run` every `period` of steady time. Periods that were missed are not made up for.
    pub fn timer(&mut self, period: Duration, run: impl FnMut(&mut S) + Send + 'static) {
        let due = Steady(SystemSteady.now().0 + period);
        self.timers.push(Timer { period, due, run: Box::new(run) });
    }

    /// Calls `hook` before a parameter changes; it may refuse with a reason.
    pub fn on_parameters(
        &mut self,
        hook: impl FnMut(&mut S, &[(String, Value)]) -> Result<(), String> + Send + 'static,
    ) {
        self.core.on_change = Some(Box::new(hook));
    }

    /// Calls `hook` once when the node ends: on a signal, and also after a panic in a callback.
    pub fn on_shutdown(&mut self, hook: impl FnMut(&mut S) + Send + 'static) {
        self.on_shutdown = Some(Box::new(hook));
    }

    /// One round: wait for something to do, do all of it, run the timers that are due.
    fn round(&mut self, state: &mut S) {
        let now = SystemSteady.now();
        let wait = self.timers.iter().map(|timer| timer.due.since(now)).min().unwrap_or(IDLE).min(IDLE);
        self.ros.spin_once(wait);
        for poll in &mut self.polls {
            poll(&mut self.core, state);
        }
        let now = SystemSteady.now();
        for timer in self.timers.iter_mut().filter(|timer| timer.due <= now) {
            (timer.run)(state);
            timer.due = Steady(timer.due.0 + timer.period);
            if timer.due <= now {
                timer.due = Steady(now.0 + timer.period);
            }
        }
    }

    /// Spins until `stop` is set or a callback panics, then runs the shutdown hook.
    pub fn spin(mut self, mut state: S, stop: &AtomicBool) -> Ended {
        let mut ended = Ended::Asked;
        while !stop.load(Ordering::Acquire) {
            if catch_unwind(AssertUnwindSafe(|| self.round(&mut state))).is_err() {
                tracing::error!("a callback panicked: the node goes to its safe state and ends");
                ended = Ended::Panicked;
                break;
            }
        }
        if let Some(hook) = &mut self.on_shutdown
            && catch_unwind(AssertUnwindSafe(|| hook(&mut state))).is_err()
        {
            tracing::error!("the shutdown hook panicked");
            ended = Ended::Panicked;
        }
        ended
    }

    /// Spins on a thread of its own until the handle is dropped.
    pub fn spin_in_background(self, state: S) -> Spinning
    where
        S: Send,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            self.spin(state, &seen);
        });
        Spinning { stop, thread: Some(thread) }
    }

    pub(crate) fn poll(&mut self, poll: impl FnMut(&mut S) + Send + 'static) {
        let mut poll = poll;
        self.polls.push(Box::new(move |_, state| poll(state)));
    }

    pub(crate) fn requests<T>(
        &mut self,
        name: &str,
    ) -> Result<impl Stream<Item = r2r::ServiceRequest<T>> + Unpin + Send + use<T, S>, StartError>
    where
        T: Service,
    {
        self.ros.create_service::<T>(name, qos::services()).map_err(ros_error(format!("service '{name}'")))
    }
}

/// How a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Asked,
    /// A callback panicked.
    Panicked,
}

/// A node that spins on its own thread; dropping it ends the node and joins the thread.
#[derive(Debug)]
pub struct Spinning {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Spinning {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the spin thread panicked");
        }
    }
}

fn declare_all(
    parameters: &mut Parameters,
    declare: impl FnOnce(&mut Parameters) -> Result<(), ParameterError>,
) -> Result<(), ParameterError> {
    parameters.declare(Spec::bool("use_sim_time", false, "Take ROS time from /clock instead of the system."))?;
    declare(parameters)
}

/// r2r panics where rcl refuses the arguments; here that becomes an error.
fn make_ros_node(name: &str) -> Result<r2r::Node, StartError> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let context = catch_unwind(r2r::Context::create);
    std::panic::set_hook(hook);
    let context = context.map_err(|panic| {
        let reason = panic.downcast_ref::<String>().cloned();
        StartError::Ros { what: "--ros-args".into(), reason: reason.unwrap_or_else(|| "refused by rcl".into()) }
    })?;
    let context = context.map_err(ros_error("ROS context"))?;
    r2r::Node::create(context, name, "").map_err(ros_error(format!("node '{name}'")))
}

/// The whole of a node's `main`: reads the arguments, starts the node, spins until SIGINT or SIGTERM, ends it.
///
/// Exit code 0 after a signal, 1 when the node could not start or a callback panicked. `--print-config` prints the
/// node's commented parameter file instead.
pub fn run<S: 'static>(
    name: &str,
    declare: impl FnOnce(&mut Parameters) -> Result<(), ParameterError>,
    build: impl FnOnce(&mut Node<S>) -> Result<S, StartError>,
) -> ExitCode {
    match try_run(name, declare, build) {
        Ok(Ended::Asked) => ExitCode::SUCCESS,
        Ok(Ended::Panicked) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_run<S: 'static>(
    name: &str,
    declare: impl FnOnce(&mut Parameters) -> Result<(), ParameterError>,
    build: impl FnOnce(&mut Node<S>) -> Result<S, StartError>,
) -> Result<Ended, StartError> {
    let args = Args::parse(std::env::args().skip(1))?;
    match args.user.as_slice() {
        [] => {}
        [only] if only == "--print-config" => {
            let mut parameters = Parameters::default();
            declare_all(&mut parameters, declare)?;
            print!("{}", parameters.commented_yaml(name));
            return Ok(Ended::Asked);
        }
        [unknown, ..] => {
            return Err(StartError::Layer(format!(
                "argument '{unknown}' is not known; known are --print-config, --ros-args"
            )));
        }
    }
    log::init(name, args.log_level.as_deref());
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(StartError::layer)?;
    }
    let mut node = Node::start(name, &args, declare)?;
    let state = build(&mut node)?;
    tracing::info!("{} is up", node.fully_qualified_name());
    let ended = node.spin(state, &stop);
    tracing::info!("ended");
    Ok(ended)
}
