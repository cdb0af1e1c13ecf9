"""Moves the simulated arm through the gate, grips, and stops it on its way."""

import math

from action_msgs.msg import GoalStatus
from ecps_msgs.action import ExecuteAction
from ecps_msgs.msg import EapAction, GateState, GripperOp, JointLimit, ManipulateOp
from ecps_msgs.srv import EnableGate, ResetGate, SetLimits
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from execute import Code, Executor
from joints_way import ARM, way
from peer import LATCHED, expect, expect_equal, expect_words, run

def seconds(message):
    end = message.points[-1].time_from_start
    return end.sec + end.nanosec * 1e-9


def scenario(peer):
    states = peer.listen(JointState, "/robot1/joint_states")
    gates = peer.listen(GateState, "/robot1/eap_executor/state", LATCHED)
    sent = peer.listen(JointTrajectory, "/robot1/joint_trajectory")
    fingers = peer.listen(JointTrajectory, "/robot1/gripper_trajectory")
    descriptions = peer.listen(String, "/robot1/robot_description", LATCHED)
    commands = peer.publisher(JointTrajectory, "/robot1/joint_trajectory_in")
    peer.wait_until(lambda: states and gates and gates[-1].mode == GateState.MODE_IDLE, "joint states and an armed gate")
    peer.wait_until(lambda: descriptions, "the robot's description")
    expect("shoulder_pan" in descriptions[-1].data, "the description has no shoulder")

    def position(name):
        return states[-1].position[states[-1].name.index(name)]

    def speed():
        return max(abs(velocity) for velocity in states[-1].velocity)

    # Passes as it came, and the arm gets there.
    asked = way((1.5, [0.6, -0.3, 0.4]))
    peer.publish_until(commands, asked, lambda: sent, "a trajectory that passes")
    expect_equal(sent[-1].points, asked.points, "what passed")
    peer.wait_until(lambda: abs(position("shoulder_pan") - 0.6) < 0.01 and abs(position("elbow") - 0.4) < 0.01, "the arm there")
    peer.wait_until(lambda: speed() < 1e-6, "the arm at rest")

    # Too fast: the same way, slower.
    sent.clear()
    peer.publish_until(commands, way((0.8, [-0.4, -0.3, 0.4])), lambda: sent, "a trajectory that is slowed down")
    expect_equal(sent[-1].points[0].positions[0], -0.4, "where to")
    expect(1.0 <= seconds(sent[-1]) <= 1.1, f"it takes {seconds(sent[-1])} s, and 6 rad/s² let it take 1 s")
    limits = {"joint_velocity", "joint_acceleration"}
    peer.wait_until(lambda: gates[-1].limited > 0 and limits & set(gates[-1].reasons), "the limit being counted")
    peer.wait_until(lambda: abs(position("shoulder_pan") + 0.4) < 0.01 and speed() < 1e-6, "the arm there")

    # Refused, each with its reason, and nothing is sent.
    sent.clear()
    for asked, reason, words in [
        (way((3.0, [3.0, 0.0, 0.0])), "joint_position", ["shoulder_pan", "3", "2.6"]),
        (way((0.01, [1.0, 0.0, 0.0])), "joint_velocity", ["shoulder_pan"]),
        (way((1.0, [0.0, 0.0]), joints=["shoulder_pan", "tail"]), "joint_unknown", ["tail"]),
        (way((1.0, [0.0]), joints=["elbow"]), "joint_malformed", ["1 of the 3"]),
        (way((0.0, [1.0, 0.0, 0.0]), (2.0, [1.0, 0.0, 0.0])), "joint_start", ["shoulder_pan"]),
        (way((1.0, [float("nan"), 0.0, 0.0])), "not_finite", ["NaN"]),
        (way((1.0, [0.0] * 3), (0.5, [0.0] * 3)), "joint_malformed", ["time_from_start of point 1"]),
    ]:
        before = dict(zip(gates[-1].reasons, gates[-1].reason_counts)).get(reason, 0)
        counted = lambda: dict(zip(gates[-1].reasons, gates[-1].reason_counts)).get(reason, 0) > before
        peer.publish_until(commands, asked, counted, f"a refusal for {reason}")
        expect_words(gates[-1].last_refusal, *words)
    expect(not sent, "a refused trajectory was sent")

    # Limits of a joint are lowered while it runs, and raised again no further than they were.
    limits = peer.client(SetLimits, "/robot1/eap_executor/set_limits")

    def limit(**joint):
        names = ("max_linear_speed", "max_linear_acceleration", "max_linear_jerk")
        names += tuple(name.replace("linear", "angular") for name in names)
        same = {name: getattr(gates[-1], name) for name in names}
        return peer.call(limits, SetLimits.Request(caller=peer.caller(), joints=[JointLimit(**joint)], **same))

    answer = limit(joint="shoulder_pan", max_velocity=100.0)
    expect_equal(answer.error_code, SetLimits.Response.INVALID, "the code for more than the description allows")
    expect_words(answer.error_msg, "max_velocity of joint 'shoulder_pan'", "100")
    expect_words(limit(joint="tail", max_velocity=1.0).error_msg, "'tail'")
    expect_equal(limit(joint="shoulder_pan", max_velocity=0.1).error_msg, "", "a lower limit")
    sent.clear()
    peer.publish_until(commands, way((1.5, [-0.35, -0.3, 0.4])), lambda: sent, "a trajectory below the lower limit")
    expect_equal(seconds(sent[-1]), 1.5, "a way of 0.05 rad in 1.5 s")
    peer.wait_until(lambda: abs(position("shoulder_pan") + 0.35) < 0.01 and speed() < 1e-6, "the arm there")
    sent.clear()
    refused = gates[-1].refused
    peer.publish_until(commands, way((0.4, [-0.2, -0.3, 0.4])), lambda: gates[-1].refused > refused, "a way that is too fast now")
    expect_words(gates[-1].last_refusal, "shoulder_pan", "times as long")
    expect(not sent, "a refused trajectory was sent")
    expect_equal(limit(joint="shoulder_pan", max_velocity=1.5).error_msg, "", "the limit as before")
    peer.publish_until(commands, way((0.4, [-0.2, -0.3, 0.4])), lambda: sent, "the same way, as fast as before")
    expect_equal(seconds(sent[-1]), 0.4, "how long it takes")
    peer.wait_until(lambda: abs(position("shoulder_pan") + 0.2) < 0.01 and speed() < 1e-6, "the arm there")

    # The gripper: what is between the fingers is gripped, and is in the way of closing.
    executor = Executor(peer)
    gripper = lambda command, **op: {"kind": EapAction.KIND_GRIPPER, "gripper": GripperOp(command=command, **op)}
    executor.succeeds(**gripper(GripperOp.OPEN))
    expect(position("finger") > 0.039, f"open is {position('finger')}")
    told = []
    _, future = executor.send(feedback=told.append, **gripper(GripperOp.GRIP, position=0.0, force_limit=15.0))
    expect_equal(executor.result(future).error_code, Code.NONE, "the grip's result")
    expect_equal(position("finger"), 0.01, "where it grips")
    # Held with about that force: not let go, and not pressed on for ever.
    peer.wait_until(lambda: abs(states[-1].effort[states[-1].name.index("finger")]) <= 40.0, "the force")
    # From wide open the finger had 0.04 m to go, and less with every message.
    left = [message.feedback.distance_remaining for message in told if message.feedback.progress == ExecuteAction.Feedback.STARTED]
    expect(len(left) >= 3 and 0.0 < left[0] <= 0.0405, f"what the grip had to go: {left}")
    expect(all(later <= before + 1e-3 for before, later in zip(left, left[1:])), f"it goes back: {left}")
    expect(left[-1] < left[0] - 0.01, f"it gets nowhere: {left}")
    executor.succeeds(**gripper(GripperOp.OPEN))
    executor.refuses(Code.NO_PROGRESS, "0.0100", **gripper(GripperOp.CLOSE))
    executor.refuses(Code.OUT_OF_LIMITS, "force_limit", "40", **gripper(GripperOp.GRIP, force_limit=50.0))
    executor.refuses(Code.INVALID, "gripper.position", **gripper(GripperOp.GRIP, position=1.5))
    executor.succeeds(**gripper(GripperOp.OPEN))

    # Picks and places: there, gripped, and back.
    def manipulate(handling, x, y, z, frame="robot1/base_footprint", **op):
        target = PoseStamped()
        target.header.frame_id = frame
        target.pose.position.x, target.pose.position.y, target.pose.position.z = x, y, z
        target.pose.orientation.w = 1.0
        op = ManipulateOp(type=handling, target_pose=target, approach_distance=0.1, **op)
        return {"kind": EapAction.KIND_MANIPULATE, "manipulate": op}

    def tip():
        """Of the arm, by its geometry."""
        pan, lift, elbow = (position(name) for name in ARM)
        reach = 0.3 * math.cos(lift) + 0.3 * math.cos(lift + elbow)
        height = 0.3 - 0.3 * math.sin(lift) - 0.3 * math.sin(lift + elbow)
        return reach * math.cos(pan), reach * math.sin(pan), height

    def away(x, y, z):
        return math.dist(tip(), (x, y, z))

    nearest = []
    executor.succeeds(meanwhile=lambda: nearest.append(away(0.45, 0.1, 0.35)), **manipulate(ManipulateOp.PICK, 0.45, 0.1, 0.35))
    expect(min(nearest) < 0.03, f"the tip came as near as {min(nearest)} m to what it was to pick")
    expect(away(0.35, 0.1, 0.35) < 0.03, f"it came back to {tip()}")
    expect_equal(position("finger"), 0.01, "what it grips")
    executor.succeeds(**manipulate(ManipulateOp.PLACE, 0.4, -0.2, 0.3, force_threshold=20.0))
    expect(position("finger") > 0.039, "it let nothing go")
    executor.refuses(Code.OUT_OF_LIMITS, "out of the arm's reach", **manipulate(ManipulateOp.PICK, 2.0, 0.0, 0.3))
    executor.refuses(Code.INVALID, "'moon'", **manipulate(ManipulateOp.PICK, 0.4, 0.0, 0.3, frame="moon"))

    # Both in one: there first, here then.
    both = manipulate(ManipulateOp.PICK_AND_PLACE, 0.4, -0.2, 0.3)
    executor.refuses(Code.INVALID, "pick_pose", **both)
    executor.refuses(Code.INVALID, "x y z qw qx qy qz", meta={"pick_pose": "0.45 0.1 0.35"}, **both)
    executor.refuses(Code.OUT_OF_LIMITS, "place to pick at", meta={"pick_pose": "2 0 0.3 1 0 0 0"}, **both)
    picked, placed = [], []

    def watch():
        if away(0.45, 0.1, 0.35) < 0.03 and position("finger") < 0.011:
            picked.append(len(placed))
        if picked and away(0.4, -0.2, 0.3) < 0.03 and position("finger") > 0.039:
            placed.append(len(picked))

    executor.succeeds(meanwhile=watch, meta={"pick_pose": "0.45 0.1 0.35 1 0 0 0"}, **both)
    expect(picked and placed, f"gripped {len(picked)} times where it is, let go {len(placed)} times where it belongs")
    fingers.clear()
    handle, future = executor.send(**gripper(GripperOp.GRIP, position=0.3))
    peer.wait_until(lambda: fingers, "the gripper on its way")
    peer.wait_until(handle.cancel_goal_async().done, "an answer to the cancel")
    peer.wait_until(future.done, "the canceled grip's result")
    expect_equal(future.result().status, GoalStatus.STATUS_CANCELED, "status of the canceled grip")

    # A stop holds the arm on its way, and nothing goes on by itself.
    peer.wait_until(lambda: speed() < 1e-6, "everything at rest")
    sent.clear()
    peer.publish_until(commands, way((4.0, [1.6, 0.2, 0.4])), lambda: sent, "a long way")
    peer.wait_until(lambda: speed() > 0.3, "the arm on its way")
    at = position("shoulder_pan")
    stop = peer.client(Trigger, "/robot1/eap_executor/estop")
    peer.call(stop, Trigger.Request())
    peer.wait_until(lambda: speed() < 1e-3, "the arm at rest")
    held = position("shoulder_pan")
    expect(held < 1.3, f"it went on from {at} to {held}")
    states.clear()
    peer.wait_until(lambda: len(states) > 50, "a second more")
    expect(abs(position("shoulder_pan") - held) < 0.01, f"held at {held}, it moved to {position('shoulder_pan')}")
    refused = gates[-1].refused
    sent.clear()
    peer.publish_until(commands, way((4.0, [0.0] * 3)), lambda: gates[-1].refused > refused, "a refusal while stopped")
    expect(all(abs(message.points[0].positions[0] - held) < 0.1 for message in sent), "something else than holding was sent")
    executor.refuses(Code.STOPPED, "protective stop", **gripper(GripperOp.OPEN))

    enable = peer.client(EnableGate, "/robot1/eap_executor/enable")
    reset = peer.client(ResetGate, "/robot1/eap_executor/reset")
    peer.call(enable, EnableGate.Request(caller=peer.caller(), enable=True))
    expect_equal(peer.call(reset, ResetGate.Request(caller=peer.caller())).error_code, 0, "the reset")
    states.clear()
    peer.wait_until(lambda: len(states) > 50, "a second after the reset")
    expect(abs(position("shoulder_pan") - held) < 0.01, "it went on by itself")
    executor.succeeds(**gripper(GripperOp.OPEN))


run(scenario)
