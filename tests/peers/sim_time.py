"""A simulator whose time stands still, goes on, and jumps back, and whoever commands goes on as if nothing were."""

import time

from builtin_interfaces.msg import Time
from ecps_msgs.msg import GateState
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock

from peer import LATCHED, expect_equal, run
from robot import is_zero

STOPPED = 2
STEP = 0.05


def stamp(seconds):
    return Time(sec=int(seconds), nanosec=int(seconds % 1.0 * 1e9))


class Simulator:
    def __init__(self, peer):
        self.peer = peer
        self.clock = peer.publisher(Clock, "/clock")
        self.odometry = peer.publisher(Odometry, "/robot1/odom")
        self.commands = peer.publisher(TwistStamped, "/robot1/cmd_vel_in")
        self.outputs = peer.listen(TwistStamped, "/robot1/cmd_vel")
        self.states = peer.listen(GateState, "/robot1/eap_executor/state", LATCHED)
        self.now = 1000.0

    def run(self, condition, what, paused=False, behind=0.0):
        """Time passes unless `paused`; commands are stamped as of now less `behind`."""
        def step():
            if not paused:
                self.now += STEP
                odometry = Odometry()
                odometry.header.frame_id, odometry.child_frame_id = "odom", "base_link"
                odometry.header.stamp = stamp(self.now)
                odometry.pose.pose.orientation.w = 1.0
                self.clock.publish(Clock(clock=stamp(self.now)))
                self.odometry.publish(odometry)
            command = TwistStamped()
            command.header.stamp = stamp(self.now - behind)
            command.twist.linear.x = 0.2
            self.commands.publish(command)
            again = time.monotonic() + STEP
            while time.monotonic() < again:
                self.peer.spin()
            return condition()

        self.peer.wait_until(step, what)

    def count(self, reason):
        return dict(zip(self.states[-1].reasons, self.states[-1].reason_counts)).get(reason, 0)

    def moves(self):
        return self.outputs and not is_zero(self.outputs[-1])


def scenario(peer):
    sim = Simulator(peer)
    sim.run(sim.moves, "motion while time passes")

    # Time stands still: where the robot is, is not known any more, however fresh the commands look.
    sim.run(lambda: not sim.moves() and sim.count("state_stale") > 5, "a halt while time stands still", paused=True)
    halted_at = len(sim.outputs)
    began = time.monotonic()
    sim.run(lambda: time.monotonic() > began + 1.0, "a second of it", paused=True)
    expect_equal([o for o in sim.outputs[halted_at:] if not is_zero(o)], [], "outputs while time stands still")
    # It goes on, and the next command moves.
    sim.run(sim.moves, "motion when time goes on")

    # Back by a hundred seconds: commands of the future that has not been are refused, and those of now pass.
    sim.now -= 100.0
    sim.run(lambda: sim.count("from_future") > 5 and not sim.moves(), "refusals from before the jump", behind=-100.0)
    sim.run(sim.moves, "motion after the jump")
    expect_equal([state.stop_cause for state in sim.states if state.mode == STOPPED], [], "stops")


run(scenario)
