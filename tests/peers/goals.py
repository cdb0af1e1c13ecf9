"""Sends goals to the probe: accepted, rejected, canceled, taken over, from two clients, and many."""

import sys
import uuid

from action_msgs.msg import GoalStatus, GoalStatusArray
from action_msgs.srv import CancelGoal
from diagnostic_msgs.msg import DiagnosticArray
from ecps_msgs.action import ExecuteAction
from ecps_msgs.msg import EapAction, SimStep
from rclpy.action import ActionClient
from unique_identifier_msgs.msg import UUID

from peer import LATCHED, expect, expect_equal, run

Code = ExecuteAction.Result


class Goals:
    def __init__(self, peer):
        self.peer = peer
        self.client = ActionClient(peer.node, ExecuteAction, "/probe/execute")
        peer.wait_until(self.client.server_is_ready, "the action server")

    def offer(self, lasts, name="", feedback=None):
        goal = ExecuteAction.Goal(action=EapAction(id=name, sim=SimStep(duration_s=lasts)))
        future = self.client.send_goal_async(goal, feedback_callback=feedback)
        self.peer.wait_until(future.done, "an answer to the goal")
        return future.result()

    def send(self, *arguments, **named):
        handle = self.offer(*arguments, **named)
        expect(handle.accepted, "the goal was rejected")
        return handle, handle.get_result_async()

    def result(self, future):
        self.peer.wait_until(future.done, "the result")
        return future.result().status, future.result().result.error_code

    def cancel(self, handle):
        future = handle.cancel_goal_async()
        self.peer.wait_until(future.done, "an answer to the cancel")
        return future.result()


def states(peer):
    goals, other = Goals(peer), Goals(peer)
    told = []
    _, future = goals.send(0.3, feedback=told.append)
    expect_equal(goals.result(future), (GoalStatus.STATUS_SUCCEEDED, Code.NONE), "a goal that ends by itself")
    expect(len(told) >= 3, f"feedback came {len(told)} times")

    expect(not goals.offer(-1.0).accepted, "a goal that cannot be was accepted")

    handle, future = goals.send(30.0)
    expect_equal(len(goals.cancel(handle).goals_canceling), 1, "goals that are being canceled")
    expect_equal(goals.result(future), (GoalStatus.STATUS_CANCELED, Code.CANCELED), "a canceled goal")
    expect_equal(goals.cancel(handle).return_code, CancelGoal.Response.ERROR_UNKNOWN_GOAL_ID, "a cancel too late")

    # Two clients; the second's goal takes the first's place, and the first is told.
    _, first = goals.send(30.0)
    _, second = other.send(0.2, name="next")
    expect_equal(goals.result(first), (GoalStatus.STATUS_ABORTED, Code.PREEMPTED), "the goal that was taken over")
    expect_equal(other.result(second), (GoalStatus.STATUS_SUCCEEDED, Code.NONE), "the goal that took over")

    # One that does not listen goes on, and is in the latched status for who comes late.
    handle, _ = goals.send(600.0)
    expect_equal(goals.cancel(handle).return_code, CancelGoal.Response.ERROR_REJECTED, "a cancel that is refused")
    statuses = peer.listen(GoalStatusArray, "/probe/execute/_action/status", LATCHED)
    running = lambda: statuses and [s.status for s in statuses[-1].status_list if s.status == GoalStatus.STATUS_EXECUTING]
    peer.wait_until(running, "the running goal in the status")

    # Results are forgotten after a while; asked for then, they are unknown.
    handle, future = goals.send(0.0)
    goals.result(future)
    known = lambda: {bytes(s.goal_info.goal_id.uuid) for s in statuses[-1].status_list}
    peer.wait_until(lambda: bytes(handle.goal_id.uuid) in known(), "the finished goal in the status")
    peer.wait_until(lambda: bytes(handle.goal_id.uuid) not in known(), "the finished goal forgotten", limit=30.0)
    late = goals.client._get_result_async(handle)
    peer.wait_until(late.done, "an answer about the forgotten goal")
    expect_equal(late.result().status, GoalStatus.STATUS_UNKNOWN, "status of a forgotten goal")


def many(peer):
    """Goals one after the other, and what the node's diagnostics say before and after."""
    goals = Goals(peer)
    diagnostics = peer.listen(DiagnosticArray, "/diagnostics")

    def node():
        diagnostics.clear()
        for _ in range(3):
            count = len(diagnostics)
            peer.wait_until(lambda: len(diagnostics) > count, "diagnostics")
        entry = next(s for s in diagnostics[-1].status if s.name == "probe: node")
        values = {value.key: float(value.value) for value in entry.values if value.key != "state"}
        return values["memory (MiB)"], values["spins (1/s)"]

    # What is allocated once is allocated after the first hundred. Changes of so many are published together, the last too.
    statuses = peer.listen(GoalStatusArray, "/probe/execute/_action/status", LATCHED)
    for _ in range(100):
        last, future = goals.send(0.0)
        goals.result(future)
    ended = lambda: {bytes(s.goal_info.goal_id.uuid) for s in statuses[-1].status_list if s.status == GoalStatus.STATUS_SUCCEEDED}
    peer.wait_until(lambda: statuses and bytes(last.goal_id.uuid) in ended(), "the last goal in the status", limit=5.0)
    before = node()
    for _ in range(int(sys.argv[2])):
        goals.result(goals.send(0.0)[1])
    after = node()
    print(f"memory {before[0]} → {after[0]} MiB, spins {before[1]} → {after[1]} a second")
    expect(after[0] - before[0] <= 8, f"memory grew from {before[0]} to {after[0]} MiB")
    expect(after[1] < 2.0 * before[1] + 20.0, f"an idle node spins {after[1]} times a second, and {before[1]} before")


def interrupted(peer):
    """A goal under way when the node is told to end."""
    _, future = Goals(peer).send(600.0)
    print("under way", flush=True)
    peer.wait_until(future.done, "the goal's end")
    result = future.result()
    expect_equal((result.status, result.result.error_code), (GoalStatus.STATUS_ABORTED, Code.STOPPED), "the end")


run({"states": states, "many": many, "interrupted": interrupted}[sys.argv[1]])
