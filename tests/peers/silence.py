"""A device that has to say, again and again, that all is well: the gate waits for it, and stops when it dies, or when
another part of the robot reports an error."""

import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from ecps_msgs.msg import GateState
from ecps_msgs.srv import EnableGate, ResetGate
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from std_msgs.msg import Bool

from peer import LATCHED, expect_equal, expect_words, run
from robot import is_zero

IDLE, ACTIVE, STOPPED, DISARMED = 0, 1, 2, 3
NONE, CAUSE_PRESENT = 0, 2


def scenario(peer):
    states = peer.listen(GateState, "/robot1/eap_executor/state", LATCHED)
    outputs = peer.listen(Twist, "/robot1/cmd_vel")
    guard = peer.publisher(Bool, "/robot1/guard")
    diagnostics = peer.publisher(DiagnosticArray, "/diagnostics")
    odometry = peer.publisher(Odometry, "/robot1/odom")
    commands = peer.publisher(Twist, "/robot1/cmd_vel_in")
    enable = peer.client(EnableGate, "/robot1/eap_executor/enable")
    reset = peer.client(ResetGate, "/robot1/eap_executor/reset")

    def go_on(condition, what, guarded, limit=15.0):
        """Odometry and commands, and the device's word if it lives, until `condition`."""
        def step():
            message = Odometry()
            message.header.frame_id, message.child_frame_id = "odom", "base_link"
            message.header.stamp = peer.now().to_msg()
            message.pose.pose.orientation.w = 1.0
            odometry.publish(message)
            command = Twist()
            command.linear.x = 0.2
            commands.publish(command)
            if guarded:
                guard.publish(Bool(data=False))
            again = time.monotonic() + 0.05
            while time.monotonic() < again:
                peer.spin()
            return condition()

        peer.wait_until(step, what, limit)

    arm = lambda: peer.call(enable, EnableGate.Request(caller=peer.caller(), enable=True))
    leave = lambda: peer.call(reset, ResetGate.Request(caller=peer.caller()))
    peer.wait_until(lambda: states, "the gate's state")
    began = time.monotonic()
    go_on(lambda: time.monotonic() > began + 1.0, "a second without the device", False)
    expect_equal(states[-1].mode, DISARMED, "mode before the device was ever heard")
    expect_equal([output for output in outputs if not is_zero(output)], [], "outputs before the device was ever heard")
    # As soon as it is heard the gate is armed, since somebody had activated it.
    go_on(lambda: outputs and outputs[-1].linear.x > 0.1, "motion", True)
    go_on(lambda: states[-1].mode == STOPPED, "a stop once the device is dead", False)
    expect_words(states[-1].stop_cause, "topic", "guard", "silent", "400ms")
    expect_equal(is_zero(outputs[-1]), True, "whether the last output is zero")
    expect_equal(arm().error_code, NONE, "code of an enable while stopped")
    expect_equal(leave().error_code, CAUSE_PRESENT, "code of a reset while the device is dead")
    # It is back, which moves nothing by itself.
    stopped_at = len(outputs)
    began = time.monotonic()
    go_on(lambda: time.monotonic() > began + 1.0, "a second with the device", True)
    expect_equal([output for output in outputs[stopped_at:] if not is_zero(output)], [], "outputs before the reset")

    def is_left():
        guard.publish(Bool(data=False))
        arm()
        guard.publish(Bool(data=False))
        return leave().error_code == NONE

    go_on(is_left, "the stop left", True)
    go_on(lambda: not is_zero(outputs[-1]), "motion again", True)

    # Another part of the robot reports an error: only where somebody asked to be stopped by it, and only an error.
    def report(name, level, message=""):
        status = DiagnosticStatus(name=name, level=level, message=message)
        diagnostics.publish(DiagnosticArray(status=[status]))

    began, moved = time.monotonic(), len(outputs)

    def others():
        report("camera: driver", DiagnosticStatus.ERROR, "no picture")
        report("lidar: driver", DiagnosticStatus.WARN, "dusty")
        return time.monotonic() > began + 0.5

    go_on(others, "errors of others, and warnings", True)
    expect_equal([output for output in outputs[moved:] if is_zero(output)], [], "stops by errors of others")

    def fails():
        report("lidar: driver", DiagnosticStatus.ERROR, "the motor stands")
        return states[-1].mode == STOPPED

    go_on(fails, "a stop by an error", True)
    expect_words(states[-1].stop_cause, "diagnostics", "lidar: driver", "the motor stands")
    expect_equal(is_zero(outputs[-1]), True, "whether the last output is zero")
    expect_equal(arm().error_code, NONE, "code of an enable while stopped")
    expect_equal(leave().error_code, CAUSE_PRESENT, "code of a reset while the error is there")

    def is_mended():
        report("lidar: driver", DiagnosticStatus.OK)
        return is_left()

    go_on(is_mended, "the stop left", True)
    go_on(lambda: not is_zero(outputs[-1]), "motion once more", True)


run(scenario)
