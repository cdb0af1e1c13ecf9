"""Three robots without motors: turns what their coordinators command into odometry, and looks how they move."""

import math
import sys
import time

from ecps_msgs.msg import SwarmLeader, SwarmSlots
from ecps_msgs.srv import SetBehavior, SetFormation
from geometry_msgs.msg import Point, Pose, Twist
from nav_msgs.msg import Odometry
from visualization_msgs.msg import MarkerArray

from peer import LATCHED, expect, expect_equal, expect_words, run

NAMES = ["r1", "r2", "r3"]
STARTS = {"r1": (0.0, 0.0), "r2": (3.0, 0.0), "r3": (0.0, 3.0)}
LONG = 60.0
STEP = 0.02
# As the executor's timeout of a source.
TIMEOUT = 0.5


class Robot:
    def __init__(self, peer, name):
        self.name = name
        self.x, self.y = STARTS[name]
        self.heading = 0.0
        self.command, self.heard, self.count = Twist(), -math.inf, 0
        self.odometry = peer.node.create_publisher(Odometry, f"/{name}/odom", 10)
        peer.node.create_subscription(Twist, f"/{name}/cmd_vel_swarm", self.take, 10)

    def take(self, command):
        self.command, self.heard = command, time.monotonic()
        self.count += 1

    def speed(self):
        fresh = time.monotonic() - self.heard < TIMEOUT
        return (self.command.linear.x, self.command.angular.z) if fresh else (0.0, 0.0)

    def step(self, stamp, seconds):
        linear, angular = self.speed()
        self.heading += angular * seconds
        self.x += linear * math.cos(self.heading) * seconds
        self.y += linear * math.sin(self.heading) * seconds
        message = Odometry()
        message.header.frame_id, message.header.stamp = "map", stamp
        message.pose.pose.position.x, message.pose.pose.position.y = self.x, self.y
        message.pose.pose.orientation.z, message.pose.pose.orientation.w = math.sin(self.heading / 2), math.cos(self.heading / 2)
        message.twist.twist.linear.x, message.twist.twist.angular.z = linear, angular
        self.odometry.publish(message)


def scenario(peer):
    robots = {name: Robot(peer, name) for name in NAMES}
    silent = set()
    last = [time.monotonic()]
    least = [math.inf]

    def world():
        now = time.monotonic()
        seconds, last[0] = now - last[0], now
        for robot in robots.values():
            if robot.name not in silent:
                robot.step(peer.now().to_msg(), min(seconds, 0.1))
        places = [(robot.x, robot.y) for robot in robots.values()]
        least[0] = min(least[0], *(math.dist(a, b) for i, a in enumerate(places) for b in places[i + 1:]))

    peer.node.create_timer(STEP, world)
    leaders = {name: peer.listen(SwarmLeader, f"/{name}/swarm_coordinator/leader", LATCHED) for name in NAMES}
    slots = {name: peer.listen(SwarmSlots, f"/{name}/swarm_coordinator/slots", LATCHED) for name in NAMES}
    markers = peer.listen(MarkerArray, "/r1/swarm_coordinator/markers", LATCHED)
    form = peer.client(SetFormation, "/r1/swarm_coordinator/set_formation")
    behave = peer.client(SetBehavior, "/r2/swarm_coordinator/set_behavior")
    peer.wait_until(lambda: all(leaders[name] and leaders[name][-1].leader for name in NAMES), "a leader", LONG)

    def off(names):
        """How far the farthest is from its slot; infinite while not all say the same and have one."""
        told = [slots[name][-1] for name in names if slots[name]]
        same = len(told) == len(names) and all(one.version == told[0].version for one in told)
        if not same or any(sorted(one.agents) != sorted(names) for one in told):
            return math.inf
        ways = [math.dist((robots[name].x, robots[name].y), (slot.x, slot.y)) for name, slot in zip(told[0].agents, told[0].slots)]
        return max(ways)

    # What cannot be is refused, and changes nothing.
    near = peer.call(form, SetFormation.Request(caller=peer.caller(), formation=SetFormation.Request.CIRCLE, separation=0.5), LONG)
    expect_equal(near.error_code, 1, "code of a separation less than robots need")
    expect_words(near.error_msg, "separation is 0.5 m", "at least")
    nothing = peer.call(behave, SetBehavior.Request(caller=peer.caller(), behavior=SetBehavior.Request.FORMATION), LONG)
    expect_equal(nothing.error_code, 1, "code of a formation that was never set")
    expect_words(nothing.error_msg, "no formation was set")
    expect(all(robot.count == 0 for robot in robots.values()), "somebody was commanded before anything was set")

    request = SetFormation.Request(caller=peer.caller(), formation=SetFormation.Request.TRIANGLE, scale=2.0)
    request.path = [Pose(position=Point(x=3.0, y=2.0))]
    answer = peer.call(form, request, LONG)
    expect_equal(answer.error_code, 0, f"code of a formation ({answer.error_msg})")
    expect(abs(answer.scale - 2.0) < 1e-6, f"its scale is {answer.scale}")
    peer.wait_until(lambda: off(NAMES) < 0.1, "a triangle", LONG)
    centre = slots["r3"][-1].centre.position
    peer.wait_until(lambda: math.dist((slots["r3"][-1].centre.position.x, slots["r3"][-1].centre.position.y), (3.0, 2.0)) < 0.01,
                    f"its centre where it was sent, and not at {centre}", LONG)
    peer.wait_until(lambda: off(NAMES) < 0.1, "a triangle there", LONG)
    expect_equal(slots["r2"][-1].formation, "triangle", "name of the formation")
    kinds = {marker.ns for marker in markers[-1].markers}
    expect({"agents", "slots", "ways", "centre"} <= kinds, f"markers are of {kinds}")
    expect(all(marker.header.frame_id in ("map", "") for marker in markers[-1].markers), "markers in another frame")

    # Where a robot is not known any more, it and its neighbours stand.
    request = SetFormation.Request(caller=peer.caller(), formation=SetFormation.Request.LINE, scale=6.0)
    expect_equal(peer.call(form, request, LONG).error_code, 0, "code of a line")
    peer.wait_until(lambda: robots["r1"].speed()[0] != 0.0, "that they move", LONG)
    silent.add("r2")
    peer.wait_until(lambda: robots["r1"].speed() == robots["r3"].speed() == (0.0, 0.0), "that neighbours of a silent one stand")
    silent.clear()
    peer.wait_until(lambda: off(NAMES) < 0.1, "the line, when it is heard again", LONG)

    # Nothing is set: zero, and then nothing, so that others may drive.
    hold = SetBehavior.Request(caller=peer.caller(), behavior=SetBehavior.Request.HOLD)
    expect_equal(peer.call(behave, hold, LONG).error_code, 0, "code of holding")
    peer.wait_until(lambda: all(time.monotonic() - robot.heard > 1.0 for robot in robots.values()), "silence")
    expect(all(robot.command == Twist() for robot in robots.values()), "the last command was not zero")

    # What was set last is taken up again; the swarm of one that is left is no majority, and stands.
    again = SetBehavior.Request(caller=peer.caller(), behavior=SetBehavior.Request.FORMATION)
    expect_equal(peer.call(behave, again, LONG).error_code, 0, "code of a formation that was set before")
    peer.wait_until(lambda: off(NAMES) < 0.1, "the line again", LONG)
    print("leads", leaders["r1"][-1].leader, flush=True)
    while sys.stdin.readline().strip() != "gone":
        pass
    rest = [name for name in NAMES if name != leaders["r1"][-1].leader]
    peer.wait_until(lambda: off(rest) < 0.1, "that the others close up", LONG)
    print("closed up", flush=True)
    while sys.stdin.readline().strip() != "alone":
        pass
    peer.wait_until(lambda: leaders[rest[0]][-1].mode == SwarmLeader.MODE_DEGRADED, "that the last one knows", LONG)
    robots[rest[0]].x += 1.0
    peer.wait_until(lambda: time.monotonic() - robots[rest[0]].heard < 0.2, "its commands")
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        peer.spin()
        expect_equal(robots[rest[0]].speed(), (0.0, 0.0), "speed of a robot without a quorum")
    expect(least[0] > 0.6, f"two robots were {least[0]} m apart")


run(scenario)
