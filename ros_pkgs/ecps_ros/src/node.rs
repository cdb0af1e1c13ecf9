//! A node: what it publishes, hears, serves and does in time, as callbacks on its state.
//!
//! All callbacks run one at a time on the node's spin thread. After each spin that thread drains every stream, since r2r
//! hands over one message per stream and spin, in a channel of 10 that loses what does not fit.

pub(crate) mod base;
mod entities;
mod spinning;

use std::sync::Arc;
use std::time::Duration;

use ecps_core::clock::{Steady, SteadyClock, SystemSteady};
use futures::{FutureExt, StreamExt};
use r2r::QosProfile;

pub use self::spinning::Spinning;

use self::base::Base;
use self::entities::Scheduled;
pub(crate) use self::entities::{Core, Entities, Gate};
use crate::alarm::{Alarm, SimTimer, SteadyTimer};
use crate::args::Args;
use crate::budget::BudgetMeter;
use crate::client::Client;
use crate::clock::NodeClock;
use crate::diagnostics::Report;
use crate::interface::{Message, Service};
use crate::loan::{LoanPublisher, Loans};
use crate::parameter::{ParameterError, Parameters, Spec, Value};
use crate::publisher::{CdrPublisher, Publisher};
use crate::qos;
use crate::qos::overrides::Endpoint;
use crate::rosout::NodeLog;
use crate::service::{Once, Reply};
use crate::start_error::StartError;
use crate::stream::StreamMeter;
use crate::subscription::Subscription;

/// A ROS node with callbacks on a state `S`.
pub struct Node<S> {
    // Before the ROS node, whose publishers it uses to the last.
    base: Base<S>,
    ros: r2r::Node,
    default_name: String,
    fully_qualified_name: String,
    args: Args,
    clock: NodeClock,
    core: Core<S>,
    log: NodeLog,
    entities: Entities<S>,
    /// Whether anything was made for the layer since the node was made.
    made: bool,
    /// Callbacks made now run in every state.
    always: bool,
    /// The ROS node before the last clean-up, until its last answers are out.
    retired: Option<(r2r::Node, Steady)>,
}

impl<S> Drop for Node<S> {
    fn drop(&mut self) {
        // What waits in them may be lent by the ROS node's subscriptions.
        self.entities.polls.clear();
        self.log.end();
    }
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
        base::declare(&mut parameters, args.log_level.as_deref().unwrap_or("info"))?;
        declare(&mut parameters)?;
        parameters.refuse_unknown()?;
        crate::rosout::set_level(&parameters.string("log_level")?);
        let clock = if parameters.bool("use_sim_time")? { NodeClock::simulated() } else { NodeClock::default() };

        let mut ros = base::make_ros_node(default_name)?;
        let fully_qualified_name = ros.fully_qualified_name().map_err(StartError::ros(|| "node name".into()))?;
        let log = NodeLog::begin(&fully_qualified_name);
        let base = Base::new(&mut ros, &fully_qualified_name, &clock, log.clone())?;
        Ok(Node {
            ros,
            default_name: default_name.to_owned(),
            fully_qualified_name,
            args: args.clone(),
            clock,
            core: Core { parameters, on_change: None },
            base,
            log,
            entities: Entities::default(),
            made: false,
            always: false,
            retired: None,
        })
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

    /// Callbacks and timers made by `make` run whenever the node is configured, and not only while it is active: for
    /// stopping, and for keeping an eye on what goes on.
    pub fn in_any_state<T>(
        &mut self,
        make: impl FnOnce(&mut Node<S>) -> Result<T, StartError>,
    ) -> Result<T, StartError> {
        self.always = true;
        let made = make(self);
        self.always = false;
        made
    }

    /// The gate as callbacks made now see it.
    fn gate(&self) -> impl Fn(Gate) -> Gate + Send + use<S> {
        let always = self.always;
        move |gate| if always { Gate::Open } else { gate }
    }

    fn overridden(&mut self, topic: &str, endpoint: Endpoint, qos: QosProfile) -> Result<QosProfile, StartError> {
        self.made = true;
        let topic = self.args.topic_name(&self.fully_qualified_name, topic);
        Ok(qos::overrides::apply(&mut self.core.parameters, &topic, endpoint, qos)?)
    }

    /// A publisher on `topic`, with `qos` unless `qos_overrides.<topic>.publisher.*` say otherwise.
    pub fn publisher<T>(&mut self, topic: &str, qos: QosProfile) -> Result<Publisher<T>, StartError>
    where
        T: Message,
    {
        let qos = self.overridden(topic, Endpoint::Publisher, qos)?;
        let inner =
            self.ros.create_publisher::<T>(topic, qos).map_err(StartError::ros(|| format!("topic '{topic}'")))?;
        Ok(Publisher::new(inner, topic))
    }

    /// A publisher of serialized messages of `type_name` ("sensor_msgs/msg/LaserScan"); only types compiled in are known.
    pub fn cdr_publisher(&mut self, topic: &str, type_name: &str, qos: QosProfile) -> Result<CdrPublisher, StartError> {
        let what = || format!("topic '{topic}' of type '{type_name}'");
        let qos = self.overridden(topic, Endpoint::Publisher, qos)?;
        let inner = self.ros.create_publisher_untyped(topic, type_name, qos).map_err(StartError::ros(what))?;
        Ok(CdrPublisher::new(inner))
    }

    /// A publisher of messages of fixed size, in memory that the middleware lends.
    pub fn loan_publisher<T>(&mut self, topic: &str, qos: QosProfile) -> Result<LoanPublisher<T>, StartError>
    where
        T: Message,
    {
        let qos = self.overridden(topic, Endpoint::Publisher, qos)?;
        let inner =
            self.ros.create_publisher::<T>(topic, qos).map_err(StartError::ros(|| format!("topic '{topic}'")))?;
        Ok(LoanPublisher::new(inner))
    }

    /// Calls `handler` on the spin thread for each message of fixed size on `topic`, where it lies: in memory of the middleware
    /// if that lends it to subscribers, which rcl asks for only where `ROS_DISABLE_LOANED_MESSAGES` is 0.
    pub fn subscribe_loans<T>(
        &mut self,
        topic: &str,
        qos: QosProfile,
        mut handler: impl FnMut(&mut S, &T::CStruct) + Send + 'static,
    ) -> Result<StreamMeter, StartError>
    where
        T: Message,
    {
        let qos = self.overridden(topic, Endpoint::Subscription, qos)?;
        let stream =
            self.ros.subscribe_native::<T>(topic, qos).map_err(StartError::ros(|| format!("topic '{topic}'")))?;
        let meter = StreamMeter::new(topic);
        self.drain(Loans::new(stream), meter.clone(), move |state, batch| {
            batch.for_each(|message| handler(state, &message));
        });
        Ok(meter)
    }

    /// Calls `handler` on the spin thread for each message on `topic`; see [`Node::subscription`] for more than that.
    pub fn subscribe<T>(
        &mut self,
        topic: &str,
        qos: QosProfile,
        handler: impl FnMut(&mut S, T) + Send + 'static,
    ) -> Result<StreamMeter, StartError>
    where
        T: Message,
    {
        self.subscription(topic, qos).handle(handler)
    }

    /// A subscription to `topic`, with `qos` unless `qos_overrides.<topic>.subscription.*` say otherwise.
    pub fn subscription<T>(&mut self, topic: &str, qos: QosProfile) -> Subscription<'_, S, T>
    where
        T: Message,
    {
        Subscription::new(self, topic, qos)
    }

    /// Calls `handler` on the spin thread for each message of `type_name` ("sensor_msgs/msg/LaserScan"), as CDR.
    pub fn subscribe_cdr(
        &mut self,
        topic: &str,
        type_name: &str,
        qos: QosProfile,
        mut handler: impl FnMut(&mut S, Vec<u8>) + Send + 'static,
    ) -> Result<StreamMeter, StartError> {
        let what = || format!("topic '{topic}' of type '{type_name}'");
        let qos = self.overridden(topic, Endpoint::Subscription, qos)?;
        let stream = self.ros.subscribe_raw(topic, type_name, qos).map_err(StartError::ros(what))?;
        let meter = StreamMeter::new(topic);
        self.drain(stream, meter.clone(), move |state, batch| batch.for_each(|message| handler(state, message)));
        Ok(meter)
    }

    pub(crate) fn typed_stream<T>(
        &mut self,
        topic: &str,
        qos: QosProfile,
    ) -> Result<impl futures::Stream<Item = T> + Unpin + Send + use<T, S>, StartError>
    where
        T: Message,
    {
        let qos = self.overridden(topic, Endpoint::Subscription, qos)?;
        self.ros.subscribe::<T>(topic, qos).map_err(StartError::ros(|| format!("topic '{topic}'")))
    }

    /// Hands what `items` holds after each spin to `handle`, while the node does its work.
    pub(crate) fn drain<T: 'static>(
        &mut self,
        mut items: impl futures::Stream<Item = T> + Unpin + Send + 'static,
        meter: StreamMeter,
        mut handle: impl FnMut(&mut S, &mut dyn Iterator<Item = T>) + Send + 'static,
    ) {
        self.entities.meters.push(meter.clone());
        let gate = self.gate();
        self.entities.polls.push(Box::new(move |state, node| {
            let mut batch = std::iter::from_fn(|| {
                let item = items.next().now_or_never().flatten()?;
                meter.arrived(SystemSteady.now());
                Some(item)
            });
            match gate(node) {
                Gate::Open => handle(state, &mut batch),
                Gate::Closed => meter.dropped(batch.count() as u64),
            }
        }));
    }

    /// Makes the calling thread's log lines this node's.
    pub(crate) fn adopt_this_thread(&self) {
        self.log.adopt_this_thread();
    }

    pub(crate) fn alarm(&mut self, alarm: impl Alarm<S> + 'static) {
        self.entities.alarms.push(Scheduled { alarm: Box::new(alarm), always: self.always });
    }

    pub(crate) fn when_it_ends(&mut self, end: impl FnOnce() + Send + 'static) {
        self.entities.ends.push(Box::new(end));
    }

    /// Shows the depth of a queue in the diagnostics, under its topic's name.
    pub fn note_queue(&mut self, topic: &str, waiting: impl Fn() -> usize + Send + 'static) {
        self.entities.queues.push((topic.to_owned(), Box::new(waiting)));
    }

    pub(crate) fn note_budget(&mut self, meter: BudgetMeter) {
        self.entities.budgets.push(meter);
    }

    /// Adds to the node's `/diagnostics`: once a second `describe` tells of the state under `name`.
    pub fn diagnose(&mut self, name: &str, describe: impl FnMut(&S, &mut Report) + Send + 'static) {
        self.entities.reports.push((name.to_owned(), Box::new(describe)));
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
        let mut requests = self.requests::<T>(name)?;
        let once = Once::<T>::new();
        let gate = self.gate();
        let name: Arc<str> = name.into();
        self.entities.polls.push(Box::new(move |state, node| {
            while let Some(Some(request)) = requests.next().now_or_never() {
                if gate(node) == Gate::Closed {
                    tracing::warn!("{name}: a request is not answered, since the node is not active");
                    continue;
                }
                let message = request.message.clone();
                let key = key(&message);
                if let Some(reply) = once.admit(request, key) {
                    handler(state, message, reply);
                }
            }
        }));
        Ok(())
    }

    pub(crate) fn requests<T>(
        &mut self,
        name: &str,
    ) -> Result<impl futures::Stream<Item = r2r::ServiceRequest<T>> + Unpin + Send + use<T, S>, StartError>
    where
        T: Service,
    {
        self.made = true;
        self.ros.create_service::<T>(name, qos::services()).map_err(StartError::ros(|| format!("service '{name}'")))
    }

    pub(crate) fn poll(&mut self, mut poll: impl FnMut(&mut S, Gate) + Send + 'static) {
        let gate = self.gate();
        self.entities.polls.push(Box::new(move |state, node| poll(state, gate(node))));
    }

    /// A client that other threads call.
    pub fn client<T>(&mut self, service: &str) -> Result<Client<T>, StartError>
    where
        T: Service,
    {
        self.made = true;
        let inner = self
            .ros
            .create_client::<T>(service, qos::services())
            .map_err(StartError::ros(|| format!("client '{service}'")))?;
        Ok(Client::new(inner, service))
    }

    /// Calls `run` every `period` of ROS time: of `/clock` where that is in use. Periods that were missed are not made
    /// up for.
    pub fn timer(&mut self, period: Duration, run: impl FnMut(&mut S) + Send + 'static) {
        if self.clock.is_simulated() {
            let clock = self.clock();
            self.alarm(SimTimer { period, clock, last: None, run });
        } else {
            self.steady_timer(period, run);
        }
    }

    /// Calls `run` every `period` of steady time, whatever the simulator or NTP does: for watchdogs and control loops.
    pub fn steady_timer(&mut self, period: Duration, run: impl FnMut(&mut S) + Send + 'static) {
        let due = Steady(SystemSteady.now().0 + period);
        self.alarm(SteadyTimer { period, due, run });
    }

    /// Calls `hook` before a parameter changes; it may refuse with a reason.
    pub fn on_parameters(
        &mut self,
        hook: impl FnMut(&mut S, &[(String, Value)]) -> Result<(), String> + Send + 'static,
    ) {
        self.core.on_change = Some(Box::new(hook));
    }

    /// Declares a parameter whose existence depends on others.
    pub fn declare(&mut self, spec: Spec) -> Result<(), ParameterError> {
        self.core.parameters.declare(spec)
    }
}
