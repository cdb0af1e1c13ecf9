"""Looks when everybody has seen who joins, that a learner takes part, and that the queue outlives a restart of all."""

import sys
import time

from ecps_msgs.msg import SwarmAgent, SwarmAgents, SwarmTask, SwarmTasks, SwarmTaskState
from ecps_msgs.srv import ReportTask, SubmitTask

from peer import LATCHED, RELIABLE, expect, expect_equal, run

LONG = 90.0
TRANSIENT = type(RELIABLE)(depth=256, durability=LATCHED.durability)


def scenario(peer):
    names = [f"r{number}" for number in range(1, int(sys.argv[1]) + 1)]
    # It votes not.
    learner = names[-1]
    agents = {name: peer.listen(SwarmAgents, f"/{name}/swarm_coordinator/agents", LATCHED) for name in names}
    tasks = {name: peer.listen(SwarmTasks, f"/{name}/swarm_coordinator/tasks", LATCHED) for name in names}

    def knows(via, name, epoch):
        latest = agents[via][-1].agents if agents[via] else []
        return any(one.agent.id == name and one.agent.epoch == epoch and one.health == 0 for one in latest)

    def all_know(epoch, but=()):
        return all(knows(via, name, epoch) for via in names for name in names if name not in but and via not in but)

    def state(via, identifier):
        latest = tasks[via][-1].tasks if tasks[via] else []
        return next((task for task in latest if task.task.id == identifier), SwarmTaskState())

    peer.wait_until(lambda: all_know(1, [learner]), "everybody but the last", LONG)
    words = peer.listen(SwarmAgent, "/swarm/agents", TRANSIENT)
    print("all but one", flush=True)
    peer.wait_until(lambda: any(word.id == learner for word in words), "its first word", LONG)
    begun = time.monotonic()
    peer.wait_until(lambda: all(knows(via, learner, 1) for via in names), "that all have seen it", LONG)
    print(f"{len(names)} coordinators have seen it {time.monotonic() - begun:.3f} s after its first word")

    submit = {name: peer.client(SubmitTask, f"/{name}/swarm_coordinator/submit_task") for name in (names[0], learner)}
    report = peer.client(ReportTask, f"/{learner}/swarm_coordinator/report_task")
    for via, task in ((learner, SwarmTask(id="dig", kind="dig", preferred_agents=[learner])),
                      (names[0], SwarmTask(id="fly", kind="fly", required_capabilities=["fly"]))):
        answer = peer.call(submit[via], SubmitTask.Request(caller=peer.caller(), task=task), LONG)
        expect_equal(answer.error_code, 0, f"code of {task.id} ({answer.error_msg})")
    peer.wait_until(lambda: state(learner, "dig").agent == learner, "an award to a learner", LONG)
    for outcome in (ReportTask.Request.RUNNING, ReportTask.Request.COMPLETED):
        request = ReportTask.Request(caller=peer.caller(), id="dig", award=state(learner, "dig").award, outcome=outcome)
        answer = peer.call(report, request, LONG)
        expect_equal(answer.error_code, 0, f"code of a learner's report ({answer.error_msg})")
    for via in names:
        peer.wait_until(lambda: state(via, "dig").state == SwarmTaskState.STATE_COMPLETED, f"its end at {via}", LONG)
    print("done", flush=True)
    while sys.stdin.readline().strip() != "restarted":
        pass

    # Its own start is counted, so that the words of the one before are those of another time.
    peer.wait_until(lambda: all_know(2), "everybody in the second epoch", LONG)
    for via in names:
        peer.wait_until(lambda: state(via, "dig").state == SwarmTaskState.STATE_COMPLETED
                        and "capable of 'fly'" in state(via, "fly").reason, f"the queue at {via}", LONG)
    publisher = peer.publisher(SwarmAgent, "/swarm/agents", TRANSIENT)
    ghost = SwarmAgent(id=learner, epoch=1, sequence=10**6, state=SwarmAgent.STATE_EXECUTING, battery=float("nan"))
    ghost.header.frame_id = "map"

    def refused():
        latest = agents[names[0]][-1]
        return dict(zip(latest.refusal_reasons, latest.refusal_counts)).get("old_epoch", 0) > 0

    peer.publish_until(publisher, ghost, refused, "that words of an older epoch are refused", LONG)
    expect(knows(names[0], learner, 2), "the older epoch took the place of the newer one")


run(scenario)
