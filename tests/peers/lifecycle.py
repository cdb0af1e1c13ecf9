"""Manages a node as `ros2 lifecycle` and nav2_lifecycle_manager do."""

import sys

from lifecycle_msgs.msg import State, Transition, TransitionEvent
from lifecycle_msgs.srv import ChangeState, GetAvailableStates, GetAvailableTransitions, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from std_msgs.msg import Float64, String
from std_srvs.srv import Trigger

from peer import expect, expect_equal, run

NODE = "/probe"


class Lifecycle:
    def __init__(self, peer):
        self.peer = peer
        self.change = peer.client(ChangeState, f"{NODE}/change_state")
        self.get = peer.client(GetState, f"{NODE}/get_state")
        self.states = peer.client(GetAvailableStates, f"{NODE}/get_available_states")
        self.transitions = peer.client(GetAvailableTransitions, f"{NODE}/get_available_transitions")
        self.graph = peer.client(GetAvailableTransitions, f"{NODE}/get_transition_graph")
        self.events = peer.listen(TransitionEvent, f"{NODE}/transition_event")

    def state(self):
        return self.peer.call(self.get, GetState.Request()).current_state.label

    def ask(self, id=0, label=""):
        request = ChangeState.Request(transition=Transition(id=id, label=label))
        return self.peer.call(self.change, request).success

    def available(self):
        answer = self.peer.call(self.transitions, GetAvailableTransitions.Request()).available_transitions
        return [description.transition.label for description in answer]


def set_parameter(peer, name, value):
    client = peer.client(SetParameters, f"{NODE}/set_parameters")
    parameter = Parameter(name=name, value=ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value))
    result = peer.call(client, SetParameters.Request(parameters=[parameter])).results[0]
    expect(result.successful, f"setting {name}: {result.reason}")


def all_transitions(peer):
    node = Lifecycle(peer)
    states = peer.call(node.states, GetAvailableStates.Request()).available_states
    expect_equal(
        [(state.id, state.label) for state in states][1:5],
        [
            (State.PRIMARY_STATE_UNCONFIGURED, "unconfigured"),
            (State.PRIMARY_STATE_INACTIVE, "inactive"),
            (State.PRIMARY_STATE_ACTIVE, "active"),
            (State.PRIMARY_STATE_FINALIZED, "finalized"),
        ],
        "the primary states",
    )
    expect_equal(len(states), 11, "number of states")
    graph = peer.call(node.graph, GetAvailableTransitions.Request()).available_transitions
    expect(any(t.start_state.label == "configuring" and t.goal_state.label == "inactive" for t in graph), "the graph")

    expect_equal((node.state(), node.available()), ("unconfigured", ["configure", "shutdown"]), "at the start")
    expect(not peer.node.count_publishers(f"{NODE}/events"), "an unconfigured node has its layer's topics")
    for id, label in [(Transition.TRANSITION_ACTIVATE, ""), (0, "cleanup"), (99, ""), (0, "fly")]:
        expect(not node.ask(id, label), f"an unconfigured node took transition {id} '{label}'")
    expect_equal(node.state(), "unconfigured", "the state after refusals")

    expect(node.ask(Transition.TRANSITION_CONFIGURE), "configure failed")
    peer.wait_until(lambda: len(node.events) >= 2, "events of the configuration")
    expect_equal(
        [(event.start_state.label, event.goal_state.label) for event in node.events],
        [("unconfigured", "configuring"), ("configuring", "inactive")],
        "events",
    )
    expect_equal((node.state(), node.available()), ("inactive", ["cleanup", "activate", "shutdown"]), "configured")

    # Inactive: nothing that comes in has an effect, and what came in does not wait for the activation.
    outputs, told = peer.listen(Float64, "/output"), peer.listen(String, f"{NODE}/events")
    inputs = peer.publisher(Float64, "/input")
    acts = peer.client(Trigger, f"{NODE}/acts")
    peer.wait_until(lambda: peer.node.count_publishers("/output") > 0, "the output's publisher")
    for number in range(5):
        inputs.publish(Float64(data=float(number)))
    expect_equal(peer.call(acts, Trigger.Request()).message, "0", "what is served in any state")
    expect_equal(outputs, [], "outputs of an inactive node")

    expect(node.ask(label="activate"), "activate by its label failed")
    peer.wait_until(lambda: any(event.data == "activated" for event in told), "the node's own activation")
    peer.publish_until(inputs, Float64(data=21.0), lambda: outputs, "an output of the active node")
    expect_equal(outputs[0].data, 42.0, "the first output")
    expect(not node.ask(Transition.TRANSITION_CONFIGURE), "an active node was configured")
    expect_equal(node.available(), ["deactivate", "shutdown"], "what an active node can do")

    expect(node.ask(Transition.TRANSITION_DEACTIVATE), "deactivate failed")
    peer.wait_until(lambda: told[-1].data == "deactivated", "the node's own deactivation")
    expect(node.ask(Transition.TRANSITION_CLEANUP), "clean-up failed")
    expect_equal(node.state(), "unconfigured", "the state after the clean-up")
    peer.wait_until(lambda: not peer.node.count_publishers(f"{NODE}/events"), "the layer's publishers gone")
    peer.wait_until(lambda: not peer.node.count_subscribers("/input"), "the layer's subscriptions gone")

    # A second life, with a failure at each step first.
    set_parameter(peer, "fail", "configure")
    expect(not node.ask(Transition.TRANSITION_CONFIGURE), "a configuration that fails was called a success")
    expect_equal(node.state(), "unconfigured", "the state after a failed configuration")
    peer.wait_until(lambda: not peer.node.count_publishers(f"{NODE}/events"), "what a failed configuration took")
    set_parameter(peer, "fail", "activate")
    expect(node.ask(Transition.TRANSITION_CONFIGURE), "configure failed")
    expect(not node.ask(Transition.TRANSITION_ACTIVATE), "an activation that fails was called a success")
    expect_equal(node.state(), "inactive", "the state after a failed activation")
    expect(node.ask(Transition.TRANSITION_CLEANUP), "clean-up failed")
    set_parameter(peer, "fail", "never")
    expect(node.ask(Transition.TRANSITION_CONFIGURE) and node.ask(Transition.TRANSITION_ACTIVATE), "the second life")
    outputs.clear()
    peer.publish_until(inputs, Float64(data=1.0), lambda: outputs, "an output in the second life")

    expect(node.ask(Transition.TRANSITION_ACTIVE_SHUTDOWN), "shutdown failed")
    expect_equal((node.state(), node.available()), ("finalized", []), "at the end")
    expect(not node.ask(Transition.TRANSITION_CONFIGURE), "a finalized node was configured")


def panic(peer):
    """Panics in a callback or, as the argument says, in a thread, and tells what it saw of the end."""
    node = Lifecycle(peer)
    told = peer.listen(String, f"{NODE}/events")
    peer.wait_until(lambda: peer.node.count_publishers(f"{NODE}/events") > 0, "the events' publisher")
    peer.wait_until(lambda: node.state() == "active", "the active node")
    peer.node.create_client(Trigger, f"{NODE}/{sys.argv[2]}").call_async(Trigger.Request())
    peer.wait_until(lambda: any(event.data.startswith("safe") for event in told), "the node's safe state")
    peer.wait_until(lambda: len(node.events) >= 2, "the error's events")
    stations = [(event.start_state.label, event.goal_state.label) for event in node.events[-2:]]
    end = sys.argv[3]
    expect_equal(stations, [("active", "errorprocessing"), ("errorprocessing", end)], "the error's way")
    if end == "unconfigured":
        peer.wait_until(lambda: node.state() == "unconfigured", "the node after its recovery")
        expect(node.ask(Transition.TRANSITION_CONFIGURE) and node.ask(Transition.TRANSITION_ACTIVATE), "the next life")


run({"transitions": all_transitions, "panic": panic}[sys.argv[1]])
