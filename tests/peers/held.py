"""Has the arm move, says so, and looks whether it is held by the supervisor when the executor is killed then."""

from ecps_msgs.msg import GateState, SupervisorState
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from joints_way import way
from peer import LATCHED, expect, run


def scenario(peer):
    states = peer.listen(JointState, "/robot1/joint_states")
    gates = peer.listen(GateState, "/robot1/eap_executor/state", LATCHED)
    supervisors = peer.listen(SupervisorState, "/robot1/eap_supervisor/state", LATCHED)
    sent = peer.listen(JointTrajectory, "/robot1/joint_trajectory")
    commands = peer.publisher(JointTrajectory, "/robot1/joint_trajectory_in")
    peer.wait_until(lambda: states and gates and gates[-1].mode == GateState.MODE_IDLE, "joint states and an armed gate")
    pan = lambda: states[-1].position[states[-1].name.index("shoulder_pan")]
    speed = lambda: max(abs(velocity) for velocity in states[-1].velocity)
    peer.publish_until(commands, way((6.0, [2.0, 0.0, 0.0])), lambda: sent, "a long way")
    peer.wait_until(lambda: speed() > 0.3, "the arm on its way")
    at = pan()
    print("moving", flush=True)
    peer.wait_until(lambda: supervisors and supervisors[-1].watch == SupervisorState.WATCH_LATCHED, "the supervisor's stop")
    peer.wait_until(lambda: speed() < 1e-3, "the arm at rest")
    held = pan()
    expect(held < at + 0.5, f"it went on from {at} to {held}")
    states.clear()
    peer.wait_until(lambda: len(states) > 100, "two seconds more")
    expect(abs(pan() - held) < 0.01, f"held at {held}, it moved to {pan()}")


run(scenario)
