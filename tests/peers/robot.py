"""A simulated robot behind its executor, as the tests see it."""

import math

from ecps_msgs.msg import GateState
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry

from peer import LATCHED


class Robot:
    def __init__(self, peer, twist_type):
        self.peer = peer
        self.odometry = peer.listen(Odometry, "/robot1/odom")
        self.commands = peer.listen(twist_type, "/robot1/cmd_vel")
        self.states = peer.listen(GateState, "/robot1/eap_executor/state", LATCHED)
        peer.wait_until(lambda: self.odometry and self.states, "odometry and the gate's state")

    def pose(self):
        """x, y, heading as measured."""
        pose = self.odometry[-1].pose.pose
        return pose.position.x, pose.position.y, 2.0 * math.atan2(pose.orientation.z, pose.orientation.w)

    def speed(self):
        twist = self.odometry[-1].twist.twist
        return math.hypot(twist.linear.x, twist.angular.z)

    def wait_for_rest(self):
        """Its last command is zero, and odometry that came later says that it stands."""
        self.peer.wait_until(lambda: is_zero(self.commands[-1]), "a zero on cmd_vel")
        self.odometry.clear()
        self.peer.wait_until(lambda: self.odometry and self.speed() < 1e-9, "the robot at rest")


def twist_of(message):
    return message.twist if isinstance(message, TwistStamped) else message


def is_zero(message):
    return twist_of(message) == Twist()
