"""Sends good and bad velocities to the gate, stops it, and prints what it said and did as one line of JSON."""

import json
import math
import sys
import time

from ecps_msgs.srv import EnableGate, ResetGate, SetLimits
from geometry_msgs.msg import TwistStamped
from rclpy.duration import Duration
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from peer import expect, expect_equal, expect_words, run
from robot import Robot, is_zero

NONE, INVALID, CAUSE_PRESENT, NOT_ENABLED = 0, 1, 2, 6
IDLE, ACTIVE, STOPPED, DISARMED = 0, 1, 2, 3


class Gate:
    """The way to the gate, which counts what goes in."""

    def __init__(self, peer):
        self.peer = peer
        self.robot = Robot(peer, TwistStamped)
        self.input = peer.publisher(TwistStamped, "/robot1/cmd_vel_in")
        self.sent, self.sent_at = 0, time.monotonic()

    def command(self, x, yaw=0.0, age=0.0, **more):
        message = TwistStamped()
        message.header.stamp = (self.peer.now() - Duration(seconds=age)).to_msg()
        message.twist.linear.x, message.twist.angular.z = x, yaw
        message.twist.linear.y = more.get("y", 0.0)
        self.sent_at = time.monotonic()
        self.input.publish(message)
        self.sent += 1

    @property
    def state(self):
        return self.robot.states[-1]

    def accounted(self):
        return self.state.admitted + self.state.limited + self.state.refused

    def wait_until_accounted(self):
        """Until the gate has told what became of each command; it tells of new counts ten times a second."""
        self.peer.wait_until(lambda: self.accounted() == self.sent, f"an account of {self.sent} commands")

    def drive_until(self, x, condition, what, limit=10.0):
        """Commands 20 times a second."""
        end = time.monotonic() + limit
        while not condition():
            expect(time.monotonic() < end, f"after {limit} s still not: {what}")
            self.command(x)
            again = time.monotonic() + 0.05
            while time.monotonic() < again:
                self.peer.spin()

    def count(self, reason):
        return dict(zip(self.state.reasons, self.state.reason_counts)).get(reason, 0)

    def outputs(self):
        return [command.twist.linear.x for command in self.robot.commands]


def scenario(peer):
    gate = Gate(peer)
    robot = gate.robot
    estop = peer.client(Trigger, "/robot1/eap_executor/estop")
    enable = peer.client(EnableGate, "/robot1/eap_executor/enable")
    reset = peer.client(ResetGate, "/robot1/eap_executor/reset")
    stop_request = peer.publisher(Bool, "/robot1/stop_request")
    set_limits = peer.client(SetLimits, "/robot1/eap_executor/set_limits")
    expect_equal(gate.state.mode, IDLE, "mode at start")

    # What no honest sender sends is refused, counted by reason, and moves nothing.
    for arguments, reason, words in [
        ({"x": 10.0}, "unreasonable", ["10 m/s", "1.6 m/s"]),
        ({"x": 0.1, "yaw": -7.0}, "unreasonable", ["7 rad/s", "3 rad/s"]),
        ({"x": math.nan}, "not_finite", ["linear.x", "NaN"]),
        ({"x": 0.1, "yaw": -math.inf}, "not_finite", ["angular.z", "-inf"]),
        ({"x": 0.1, "age": 2.0}, "stale", ["20", "ms old", "500 ms"]),
        ({"x": 0.1, "age": -5.0}, "from_future", ["future", "100 ms"]),
        ({"x": 0.1, "y": 0.2}, "unsupported_axis", ["linear.y", "0.2"]),
    ]:
        before, of_this = gate.state.refused, gate.count(reason)
        for _ in range(3):
            gate.command(**arguments)
        gate.wait_until_accounted()
        expect_equal((gate.state.refused - before, gate.count(reason) - of_this), (3, 3), f"refusals of {arguments}")
        expect_words(gate.state.last_refusal, *words)
    expect(all(is_zero(command) for command in robot.commands), "a refused command came out of the gate")
    expect(robot.speed() == 0.0, "a refused command moved the robot")

    # A good one passes; speeding up to it is limited.
    gate.drive_until(0.3, lambda: gate.outputs() and gate.outputs()[-1] == 0.3, "0.3 m/s on cmd_vel")
    gate.drive_until(0.3, lambda: robot.speed() > 0.25, "the robot at speed")
    expect(gate.outputs() == sorted(gate.outputs()), f"it sped up by {gate.outputs()}")
    # Bad ones in between neither pass nor disturb.
    gate.command(10.0)
    gate.drive_until(0.3, lambda: gate.state.admitted > 5, "admitted commands")
    expect_equal(gate.state.mode, ACTIVE, "mode while driving")
    expect(max(gate.outputs()) == 0.3, "a refused command came out of the gate")

    # Silence: zero, not before the timeout of 0.5 s has passed since the last command went out.
    peer.wait_until(lambda: is_zero(robot.commands[-1]), "a zero after silence", limit=5.0)
    took = time.monotonic() - gate.sent_at
    expect(took >= 0.5, f"the stop came {took} s after the last command, and the timeout is 0.5 s")
    robot.wait_for_rest()
    gate.wait_until_accounted()
    peer.wait_until(lambda: gate.count("command_silence") >= 1, "the silence among the reasons")

    # A protective stop while driving: commands go on and are refused.
    gate.drive_until(0.3, lambda: robot.speed() > 0.25, "the robot at speed")
    answer = peer.call(estop, Trigger.Request())
    expect(answer.success and "reset" in answer.message, f"the answer to the stop is '{answer.message}'")
    peer.wait_until(lambda: gate.state.mode == STOPPED, "the stop in the gate's state")
    expect_words(gate.state.stop_cause, "requested", "estop")
    stopped_at = len(robot.commands)
    refused = gate.count("stopped")
    gate.drive_until(0.3, lambda: gate.count("stopped") >= refused + 10, "ten commands refused by the stop")
    expect_words(gate.state.last_refusal, "stop is latched", "requested")
    robot.wait_for_rest()
    expect(all(is_zero(command) for command in robot.commands[stopped_at:]), "the gate let a command pass the stop")
    # It stays until reset by somebody who says who it is.
    answer = peer.call(reset, ResetGate.Request())
    expect_equal(answer.error_code, INVALID, "code of a reset by nobody")
    expect_words(answer.error_msg, "caller.id", "empty")
    expect_equal(gate.state.mode, STOPPED, "mode after a refused reset")
    answer = peer.call(reset, ResetGate.Request(caller=peer.caller()))
    expect_equal(answer.error_code, NOT_ENABLED, "code of a reset that nobody enabled")
    expect_words(answer.error_msg, "~/enable")
    arm = lambda on: peer.call(enable, EnableGate.Request(caller=peer.caller(), enable=on))
    answer = arm(True)
    expect_equal((answer.error_code, gate.state.mode), (NONE, STOPPED), "the answer to an enable, and the mode after it")
    answer = peer.call(reset, ResetGate.Request(caller=peer.caller()))
    expect_equal((answer.error_code, answer.error_msg), (NONE, ""), "the answer to a reset")
    peer.wait_until(lambda: gate.state.mode == IDLE, "an idle gate")
    robot.odometry.clear()
    peer.wait_until(lambda: len(robot.odometry) > 25, "half a second of odometry")
    expect(robot.speed() == 0.0, "the robot resumed by itself")
    expect(all(is_zero(command) for command in robot.commands[stopped_at:]), "the gate resumed by itself")
    gate.drive_until(0.2, lambda: gate.outputs()[-1] == 0.2, "a new command after the reset")

    # A stop by topic lasts as long as the topic says so, and then until reset.
    stop_request.publish(Bool(data=True))
    peer.wait_until(lambda: gate.state.mode == STOPPED, "the stop by topic")
    expect_words(gate.state.stop_cause, "topic", "stop_request")
    robot.wait_for_rest()
    expect_equal(arm(True).error_code, NONE, "code of an enable while stopped")
    answer = peer.call(reset, ResetGate.Request(caller=peer.caller()))
    expect_equal(answer.error_code, CAUSE_PRESENT, "code of a reset while the topic says stop")
    stop_request.publish(Bool(data=False))
    end = time.monotonic() + 10.0
    while (answer := peer.call(reset, ResetGate.Request(caller=peer.caller()))).error_code != NONE:
        expect(time.monotonic() < end, f"the reset is still refused: {answer.error_msg}")

    # Disarmed, nothing passes.
    expect_equal(arm(False).error_code, NONE, "code of a disarm")
    peer.wait_until(lambda: gate.state.mode == DISARMED, "a disarmed gate")
    refused = gate.count("not_armed")
    gate.drive_until(0.2, lambda: gate.count("not_armed") > refused, "a command refused by the disarmed gate")
    robot.wait_for_rest()
    expect_equal(arm(True).error_code, NONE, "code of an enable")
    peer.wait_until(lambda: gate.state.mode == IDLE, "an armed gate")

    # Limits go down, and never above those of the parameters.
    def limits(speed):
        return SetLimits.Request(
            caller=peer.caller(),
            max_linear_speed=speed,
            max_linear_acceleration=1.5,
            max_linear_jerk=30.0,
            max_angular_speed=1.5,
            max_angular_acceleration=4.0,
            max_angular_jerk=80.0,
        )

    for speed, words in [(2.0, ["max_linear_speed", "2", "0.8"]), (math.nan, ["max_linear_speed", "NaN"]), (0.0, ["max_linear_speed", "0"])]:
        answer = peer.call(set_limits, limits(speed))
        expect_equal(answer.error_code, INVALID, f"code of a limit of {speed} m/s")
        expect_words(answer.error_msg, *words)
    expect_equal(gate.state.max_linear_speed, 0.8, "the limit after refusals")
    answer = peer.call(set_limits, limits(0.25))
    expect_equal((answer.error_code, answer.error_msg), (NONE, ""), "the answer to a limit of 0.25 m/s")
    peer.wait_until(lambda: gate.state.max_linear_speed == 0.25, "the new limit in the gate's state")
    limited_from = len(robot.commands)
    speeds = lambda: gate.outputs()[limited_from:]
    lowered = lambda: 0.25 in speeds() and gate.count("linear_speed") > 0
    gate.drive_until(0.5, lowered, "0.5 m/s lowered to 0.25 m/s")
    expect(max(speeds()) == 0.25, f"outputs were {speeds()}")
    robot.wait_for_rest()
    gate.wait_until_accounted()

    account = {name: getattr(gate.state, name) for name in ["admitted", "limited", "refused"]}
    account["sent"] = gate.sent
    account["driven"] = [[c.twist.linear.x, c.twist.angular.z] for c in robot.commands if not is_zero(c)]
    json.dump(account, sys.stdout)
    print()


run(scenario)
