"""A reckless planner: full speed at walls, NaN, stale plans, floods. Prints what became of its commands as one line of JSON."""

import json
import math
import random
import time

from geometry_msgs.msg import TwistStamped
from rclpy.duration import Duration
from sensor_msgs.msg import LaserScan

from peer import RELIABLE, expect, run
from robot import Robot

# The simulated base, whose scanner sits at its centre. A base in contact reads less than this, since the least of many
# readings with 1 cm of noise is some centimetres short; one that keeps its distance of 0.30 m does not.
TOUCHING = 0.24


def scenario(peer):
    robot = Robot(peer, TwistStamped)
    scans = peer.listen(LaserScan, "/robot1/scan", RELIABLE)
    commands = peer.publisher(TwistStamped, "/robot1/cmd_vel_in")
    dice = random.Random(4)
    start, ways, last = time.monotonic(), 0.0, robot.pose()
    x, yaw, until = 1.5, 0.0, 0.0
    # Longer where it stands before walls most of the time: what it is held back from shows only on the way.
    while time.monotonic() < start + (30.0 if ways > 2.0 else 70.0):
        now = time.monotonic()
        if now > until:
            # At a wall until it no longer goes on, then somewhere else.
            x, yaw, until = dice.choice([1.5, 1.5, 0.8, -1.5]), dice.choice([0.0, 0.0, 1.0, -2.5]), now + dice.uniform(0.5, 3.0)
        message = TwistStamped()
        message.header.stamp = peer.now().to_msg()
        message.twist.linear.x, message.twist.angular.z = x, yaw
        kind = dice.random()
        if kind < 0.05:
            message.twist.linear.x = math.nan
        elif kind < 0.10:
            message.twist.linear.x = 1000.0
        elif kind < 0.15:
            message.header.stamp = (peer.now() - Duration(seconds=3.0)).to_msg()
        for _ in range(50 if kind > 0.98 else 1):
            commands.publish(message)
        peer.spin()
        here = robot.pose()
        ways += math.hypot(here[0] - last[0], here[1] - last[1])
        last = here
    nearest = min(r for scan in scans for r in scan.ranges if math.isfinite(r))
    expect(nearest > TOUCHING, f"the robot came within {nearest:.3f} m of a wall, and {TOUCHING} m is touching it")
    expect(ways > 2.0, f"it moved {ways:.2f} m in all, too little to meet a wall")
    state = robot.states[-1]
    print(json.dumps({"nearest": nearest, "way": ways, "reasons": dict(zip(state.reasons, state.reason_counts))}))


run(scenario)
