"""Commands an executor that is killed again and again: 100 velocities a second, goals and limits. Says `moving` when commands
come out after a silence; told to end, prints what it saw on `cmd_vel` and what it was answered as one line of JSON."""

import json
import struct
import sys
import threading
import time

from ecps_msgs.action import ExecuteAction
from ecps_msgs.msg import EapAction, NavigateOp
from ecps_msgs.srv import SetLimits
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.action import ActionClient

from peer import RELIABLE, run

# A silence of `cmd_vel` after which somebody else commands.
SILENCE = 0.3
# An executor that has not answered by then was killed.
PATIENCE = 0.5


def bits(number):
    """The 64 bits of a double: not every reader of JSON gets the last one right."""
    return int.from_bytes(struct.pack("<d", number), "little")


class Asking:
    """One question at a time, each with a value of its own."""

    def __init__(self, ask):
        self.ask, self.future, self.number, self.since = ask, None, 0, 0.0
        self.answered = []

    def go_on(self, good):
        if self.future and self.future.done():
            if good(self.future.result()):
                self.answered.append(self.value)
            self.future = None
        if self.future is None or time.monotonic() - self.since > PATIENCE:
            self.number += 1
            self.since = time.monotonic()
            self.future, self.value = self.ask(self.number)


def scenario(peer):
    node, seen, told = peer.node, [], {"last": 0.0, "ticks": 0}
    commands = node.create_publisher(Twist, "cmd_vel_in", RELIABLE)
    odometry = node.create_publisher(Odometry, "odom", RELIABLE)
    limits = node.create_client(SetLimits, "eap_executor/set_limits")
    actions = ActionClient(node, ExecuteAction, "eap_executor/execute")

    def hear(command):
        if command == Twist():
            return
        now = time.monotonic()
        if now - told["last"] > SILENCE:
            print("moving", flush=True)
        told["last"] = now
        seen.append([bits(command.linear.x), bits(command.angular.z)])

    def set_limits(number):
        speed = 0.5 + number % 29_000 * 1e-5
        request = SetLimits.Request(
            caller=peer.caller(),
            max_linear_speed=speed,
            max_linear_acceleration=1.5,
            max_linear_jerk=30.0,
            max_angular_speed=1.5,
            max_angular_acceleration=4.0,
            max_angular_jerk=80.0,
        )
        return limits.call_async(request), bits(speed)

    def send_goal(number):
        action = EapAction(spec="eap/0.1", id=f"goal {number}", kind=EapAction.KIND_NAVIGATE)
        action.navigate = NavigateOp(max_velocity=0.3, tolerance=0.05)
        target = action.navigate.target_pose
        target.header.frame_id, target.pose.position.x, target.pose.orientation.w = "odom", 1.0, 1.0
        goal = ExecuteAction.Goal(caller=peer.caller(), action=action)
        return actions.send_goal_async(goal), action.id

    limits_set, goals = Asking(set_limits), Asking(send_goal)

    def tick():
        told["ticks"] += 1
        command = Twist()
        command.linear.x = 0.1 + told["ticks"] % 3000 * 1e-4
        command.angular.z = 0.2
        commands.publish(command)
        if told["ticks"] % 2 == 0:
            message = Odometry()
            message.header.frame_id = "odom"
            message.header.stamp = peer.now().to_msg()
            message.pose.pose.orientation.w = 1.0
            odometry.publish(message)
            if limits.service_is_ready():
                limits_set.go_on(lambda answer: answer.error_code == 0)
            if actions.server_is_ready():
                goals.go_on(lambda handle: handle.accepted)

    node.create_subscription(Twist, "cmd_vel", hear, RELIABLE)
    node.create_timer(0.01, tick)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), ended.set()), daemon=True).start()
    print("ready", flush=True)
    while not ended.is_set():
        peer.spin()
    print(json.dumps({"seen": seen, "limits": limits_set.answered, "goals": goals.answered}))


run(scenario)
