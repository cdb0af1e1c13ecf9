"""Drives the robot until the executor is gone, and looks at the last command that it left behind."""

import time

from geometry_msgs.msg import Twist

from peer import expect, run
from robot import Robot


def scenario(peer):
    robot = Robot(peer, Twist)
    commands = peer.publisher(Twist, "/robot1/cmd_vel_in")
    forward = Twist()
    forward.linear.x = 0.2
    end = time.monotonic() + 30.0
    told = False
    while peer.node.count_publishers("/robot1/cmd_vel") > 0:
        expect(time.monotonic() < end, "the executor did not end within 30 s")
        commands.publish(forward)
        again = time.monotonic() + 0.05
        while time.monotonic() < again:
            peer.spin()
        if not told and robot.speed() > 0.15:
            told = True
            print("driving", flush=True)
    expect(told, "the executor ended before the robot drove")
    # Its last words may still wait to be heard.
    robot.wait_for_rest()


run(scenario)
