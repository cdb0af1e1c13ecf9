//! The five services and the topic by which a node is managed.

use futures::{FutureExt, Stream, StreamExt};
use r2r::ServiceRequest;
use r2r::lifecycle_msgs::msg::{self, TransitionDescription, TransitionEvent};
use r2r::lifecycle_msgs::srv::{ChangeState, GetAvailableStates, GetAvailableTransitions, GetState};

use super::{Edge, Machine, Stage};
use crate::publisher::Publisher;
use crate::qos;
use crate::start_error::StartError;

type Requests<T> = Box<dyn Stream<Item = ServiceRequest<T>> + Unpin + Send>;

/// One node's lifecycle interface.
pub(crate) struct LifecycleServices {
    change_state: Requests<ChangeState::Service>,
    get_state: Requests<GetState::Service>,
    get_available_states: Requests<GetAvailableStates::Service>,
    get_available_transitions: Requests<GetAvailableTransitions::Service>,
    get_transition_graph: Requests<GetAvailableTransitions::Service>,
    events: Publisher<TransitionEvent>,
}

/// A request to change the state, which waits for the change.
pub(crate) type ChangeRequest = ServiceRequest<ChangeState::Service>;

fn state(stage: Stage) -> msg::State {
    msg::State { id: stage.id(), label: stage.label().to_owned() }
}

fn transition(edge: &Edge) -> msg::Transition {
    msg::Transition { id: edge.id, label: edge.label.to_owned() }
}

fn description(edge: &Edge) -> TransitionDescription {
    TransitionDescription { transition: transition(edge), start_state: state(edge.from), goal_state: state(edge.to) }
}

impl LifecycleServices {
    /// Offers the interface on `ros`.
    pub(crate) fn offer(ros: &mut r2r::Node) -> Result<LifecycleServices, StartError> {
        fn requests<T: crate::Service>(ros: &mut r2r::Node, name: &str) -> Result<Requests<T>, StartError> {
            let what = || format!("service '~/{name}'");
            let stream =
                ros.create_service::<T>(&format!("~/{name}"), qos::services()).map_err(StartError::ros(what))?;
            Ok(Box::new(stream))
        }
        let topic = "~/transition_event";
        let events =
            ros.create_publisher(topic, qos::default()).map_err(StartError::ros(|| format!("topic '{topic}'")))?;
        Ok(LifecycleServices {
            change_state: requests(ros, "change_state")?,
            get_state: requests(ros, "get_state")?,
            get_available_states: requests(ros, "get_available_states")?,
            get_available_transitions: requests(ros, "get_available_transitions")?,
            get_transition_graph: requests(ros, "get_transition_graph")?,
            events: Publisher::new(events, topic),
        })
    }

    /// Answers what can be answered at once; the requests for a change are left to the caller.
    pub(crate) fn answer(&mut self, machine: &Machine) -> Vec<ChangeRequest> {
        each(&mut self.get_state, |_| GetState::Response { current_state: state(machine.state().stage()) });
        each(&mut self.get_available_states, |_| GetAvailableStates::Response {
            available_states: Stage::ALL.into_iter().map(state).collect(),
        });
        each(&mut self.get_available_transitions, |_| GetAvailableTransitions::Response {
            available_transitions: machine.available().iter().map(description).collect(),
        });
        each(&mut self.get_transition_graph, |_| GetAvailableTransitions::Response {
            available_transitions: super::graph().iter().map(description).collect(),
        });
        std::iter::from_fn(|| self.change_state.next().now_or_never().flatten()).collect()
    }

    /// The teller of transition events.
    pub(crate) fn events(&self) -> Publisher<TransitionEvent> {
        self.events.clone()
    }
}

/// The event of one arrow, at `nanos` of ROS time.
pub(crate) fn event(edge: &Edge, nanos: i64) -> TransitionEvent {
    TransitionEvent {
        timestamp: u64::try_from(nanos).unwrap_or(0),
        transition: transition(edge),
        start_state: state(edge.from),
        goal_state: state(edge.to),
    }
}

fn each<T: crate::Service>(requests: &mut Requests<T>, answer: impl Fn(&T::Request) -> T::Response) {
    while let Some(Some(request)) = requests.next().now_or_never() {
        let response = answer(&request.message);
        crate::service::respond(request, response);
    }
}
