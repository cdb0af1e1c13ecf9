"""Has a swarm of one drive to a place."""

from ecps_msgs.msg import SwarmAgents, SwarmTask, SwarmTasks, SwarmTaskState
from ecps_msgs.srv import SubmitTask
from nav_msgs.msg import Odometry

from peer import LATCHED, expect, expect_equal, expect_words, run


def scenario(peer):
    tasks = peer.listen(SwarmTasks, "/robot1/swarm_coordinator/tasks", LATCHED)
    agents = peer.listen(SwarmAgents, "/robot1/swarm_coordinator/agents", LATCHED)
    odometry = peer.listen(Odometry, "/robot1/odom")
    submit = peer.client(SubmitTask, "/robot1/swarm_coordinator/submit_task")
    peer.wait_until(lambda: agents and agents[-1].agents and agents[-1].agents[0].agent.pose.position.x > 1.9, "its pose")

    def ended(identifier):
        found = [task for task in tasks[-1].tasks if task.task.id == identifier] if tasks else []
        return found[0] if found and found[0].state >= SwarmTaskState.STATE_COMPLETED else None

    task = SwarmTask(id="there", kind="navigate", has_location=True)
    task.location.position.x, task.location.position.y, task.location.orientation.w = 4.0, 5.85, 1.0
    answer = peer.call(submit, SubmitTask.Request(caller=peer.caller(), task=task), 40.0)
    expect_equal(answer.error_code, 0, f"code of the submission ({answer.error_msg})")
    peer.wait_until(lambda: ended("there"), "the end of the task", 60.0)
    there = ended("there")
    expect_equal(there.state, SwarmTaskState.STATE_COMPLETED, f"state ({bytes(there.result)})")
    expect_words(bytes(there.result).decode(), "journal")
    # Odometry began where the robot did, at x = 2. It may be discovered later than the task was done.
    peer.wait_until(lambda: odometry, "where the robot is")
    x = odometry[-1].pose.pose.position.x
    expect(abs(x - 2.0) < 0.4, f"the robot went {x} m")
    peer.wait_until(lambda: agents[-1].agents[0].agent.pose.position.x > 3.5, "its new pose in the swarm's frame")

    # Where the executor says no, the task failed, with its reason.
    answer = peer.call(submit, SubmitTask.Request(caller=peer.caller(), task=SwarmTask(id="nowhere", kind="navigate")))
    expect_equal(answer.error_code, 0, "code of a task without place")
    peer.wait_until(lambda: ended("nowhere"), "its end", 40.0)
    expect_equal(ended("nowhere").state, SwarmTaskState.STATE_FAILED, "state")
    expect_words(bytes(ended("nowhere").result).decode(), "needs a location")


run(scenario)
