//! What every node offers, whatever its layer makes of it: parameters, `/rosout`, `/diagnostics`, time.

use std::panic::catch_unwind;
use std::sync::{Mutex, PoisonError};

use ecps_core::clock::{SteadyClock, SystemSteady};
use futures::{FutureExt, StreamExt};
use r2r::rcl_interfaces::msg::Log;
use r2r::rosgraph_msgs::msg::Clock;

use super::{Core, Entities, Node, StartError};
use crate::clock::NodeClock;
use crate::diagnostics::Diagnostics;
use crate::interface::Service;
use crate::parameter::{self, ParameterError, Parameters, Spec};
use crate::publisher::Publisher;
use crate::rosout::{self, NodeLog};
use crate::service::respond;
use crate::{diagnostics, qos};

/// The parameters that every node has.
pub(crate) fn declare(parameters: &mut Parameters, log_level: &str) -> Result<(), ParameterError> {
    parameters.declare(Spec::bool("use_sim_time", false, "Take ROS time from /clock instead of the system."))?;
    parameters.declare(
        Spec::string("log_level", log_level, "Least level that is logged, by the whole process.")
            .choices(&rosout::LEVELS)
            .dynamic(),
    )?;
    diagnostics::declare(parameters)
}

type BasePoll<S> = Box<dyn FnMut(&mut Core<S>, Option<&mut S>) + Send>;

/// The entities of one `r2r::Node` that do not depend on the layer.
pub(crate) struct Base<S> {
    polls: Vec<BasePoll<S>>,
    log: NodeLog,
    rosout: Publisher<Log>,
    diagnostics: Diagnostics,
}

impl<S: 'static> Base<S> {
    pub(super) fn new(ros: &mut r2r::Node, name: &str, clock: &NodeClock, log: NodeLog) -> Result<Base<S>, StartError> {
        let rosout =
            ros.create_publisher("/rosout", qos::rosout()).map_err(StartError::ros(|| "topic '/rosout'".into()))?;
        let mut base = Base {
            polls: Vec::new(),
            log,
            rosout: Publisher::new(rosout, "/rosout"),
            diagnostics: Diagnostics::new(ros, name, clock.clone())?,
        };
        if clock.is_simulated() {
            let mut stream =
                ros.subscribe::<Clock>("/clock", qos::clock()).map_err(StartError::ros(|| "topic '/clock'".into()))?;
            let clock = clock.clone();
            base.polls.push(Box::new(move |_, _| {
                while let Some(Some(message)) = stream.next().now_or_never() {
                    clock.set(crate::convert::stamp(&message.clock));
                }
            }));
        }
        parameter::serve(&mut base, ros, name, clock)?;
        Ok(base)
    }

    /// A service answered at once, with the parameters at hand.
    pub(crate) fn service<T>(
        &mut self,
        ros: &mut r2r::Node,
        name: &str,
        mut handler: impl FnMut(&mut Core<S>, Option<&mut S>, T::Request) -> T::Response + Send + 'static,
    ) -> Result<(), StartError>
    where
        T: Service,
    {
        let mut requests =
            ros.create_service::<T>(name, qos::services()).map_err(StartError::ros(|| format!("service '{name}'")))?;
        self.polls.push(Box::new(move |core, mut state| {
            while let Some(Some(request)) = requests.next().now_or_never() {
                let response = handler(core, state.as_deref_mut(), request.message.clone());
                respond(request, response);
            }
        }));
        Ok(())
    }

    pub(super) fn poll(&mut self, core: &mut Core<S>, mut state: Option<&mut S>) {
        for poll in &mut self.polls {
            poll(core, state.as_deref_mut());
        }
    }

    /// Publishes what waits: log lines, and diagnostics when they are due.
    pub(super) fn tell(&mut self, core: &Core<S>, entities: &mut Entities<S>, state: Option<&S>, stage: &str) {
        self.diagnostics.spun();
        for line in self.log.waiting() {
            self.rosout.publish(&line);
        }
        self.diagnostics.publish_if_due(&core.parameters, entities, state, stage, SystemSteady.now());
    }

    pub(super) fn diagnostics(&self) -> &Diagnostics {
        &self.diagnostics
    }
}

impl<S> Drop for Base<S> {
    fn drop(&mut self) {
        for line in self.log.waiting() {
            self.rosout.publish(&line);
        }
    }
}

/// r2r panics where rcl refuses the arguments; here that becomes an error.
pub(super) fn make_ros_node(name: &str) -> Result<r2r::Node, StartError> {
    // The panic hook is the process's, so threads that start nodes take turns.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let context = catch_unwind(r2r::Context::create);
    std::panic::set_hook(hook);
    let context = context.map_err(|panic| {
        let reason = panic.downcast_ref::<String>().cloned();
        StartError::Ros { what: "--ros-args".into(), reason: reason.unwrap_or_else(|| "refused by rcl".into()) }
    })?;
    let context = context.map_err(StartError::ros(|| "ROS context".into()))?;
    r2r::Node::create(context, name, "").map_err(StartError::ros(|| format!("node '{name}'")))
}

impl<S: 'static> Node<S> {
    /// Gives back all that the layer took: r2r can take back neither a subscription nor a service from a node, so the
    /// node is made anew. The old one stays until its last answers are out, and answers nothing any more.
    pub(crate) fn renew(&mut self) -> Result<(), StartError> {
        self.entities = Entities::default();
        self.made = false;
        self.core.on_change = None;
        let mut ros = make_ros_node(&self.default_name)?;
        self.base = Base::new(&mut ros, &self.fully_qualified_name, &self.clock, self.log.clone())?;
        let until = ecps_core::clock::Steady(SystemSteady.now().0 + super::spinning::RETIREMENT);
        self.retired = Some((std::mem::replace(&mut self.ros, ros), until));
        Ok(())
    }

    /// Whether the layer has made anything of the node.
    pub(crate) fn has_entities(&self) -> bool {
        self.made
    }

    /// Offers something more on the ROS node itself.
    pub(crate) fn ros(&mut self) -> &mut r2r::Node {
        &mut self.ros
    }
}
