"""Gives a swarm of three tasks, does them in its robots' place, and looks who leads and who has what."""

import sys
import time

from ecps_msgs.msg import SwarmAgents, SwarmLeader, SwarmPeer, SwarmTask, SwarmTasks, SwarmTaskState
from ecps_msgs.srv import CancelTask, ReportTask, SubmitTask

from peer import LATCHED, expect, expect_equal, expect_words, run

NAMES = ["r1", "r2", "r3"]
NONE, INVALID, CONFLICT = 0, 1, 8
RUNNING, COMPLETED = ReportTask.Request.RUNNING, ReportTask.Request.COMPLETED
# Within which a swarm of three finds together, on a busy machine.
LONG = 40.0


def scenario(peer):
    leaders, tasks, agents = ({name: peer.listen(kind, f"/{name}/swarm_coordinator/{topic}", LATCHED) for name in NAMES}
                              for kind, topic in ((SwarmLeader, "leader"), (SwarmTasks, "tasks"), (SwarmAgents, "agents")))

    def services(kind, name):
        return {robot: peer.client(kind, f"/{robot}/swarm_coordinator/{name}") for robot in NAMES}

    submits, cancels, reports = (services(*one) for one in (
        (SubmitTask, "submit_task"), (CancelTask, "cancel_task"), (ReportTask, "report_task")))

    def leader_of(names):
        """Whom all of them call their leader, if they agree."""
        seen = {leaders[name][-1].leader if leaders[name] and leaders[name][-1].mode == SwarmLeader.MODE_QUORUM else ""
                for name in names}
        return seen.pop() if len(seen) == 1 else ""

    def submit(via, **fields):
        request = SubmitTask.Request(caller=peer.caller(), task=SwarmTask(**fields))
        return peer.call(submits[via], request)

    def report(via, identifier, award, outcome, result=b""):
        request = ReportTask.Request(caller=peer.caller(), id=identifier, award=award, outcome=outcome,
                                     progress=1.0, result=list(result))
        return peer.call(reports[via], request)

    def state(via, identifier):
        latest = tasks[via][-1].tasks if tasks[via] else []
        return next((task for task in latest if task.task.id == identifier), SwarmTaskState())

    def awarded(via, identifier, but=""):
        """The task, once a robot other than `but` has it."""
        peer.wait_until(lambda: state(via, identifier).state == SwarmTaskState.STATE_AWARDED
                        and state(via, identifier).agent != but, f"an award of {identifier}", LONG)
        return state(via, identifier)

    def health(via, name):
        latest = agents[via][-1].agents if agents[via] else []
        return next((other for other in latest if other.agent.id == name), None)

    peer.wait_until(lambda: leader_of(NAMES) != "", "a leader that all agree on", LONG)
    peer.wait_until(lambda: all(health(via, name) is not None for via in NAMES for name in NAMES), "everybody", LONG)
    first = leader_of(NAMES)
    follower = next(name for name in NAMES if name != first)

    # A task given to one robot is everybody's, done by one, and reported once.
    answer = submit(follower, id="look", kind="look")
    expect_equal((answer.error_code, answer.id), (NONE, "look"), f"code and id ({answer.error_msg})")
    expect_equal(submit(first, id="look", kind="look").error_code, NONE, "code of the same task again")
    again = submit(first, id="look", kind="other")
    expect_equal(again.error_code, CONFLICT, "code of another task with the same id")
    expect_words(again.error_msg, "look", "belongs to another task")
    bad = submit(first, id="bad", priority=9)
    expect_equal(bad.error_code, INVALID, "code of a malformed task")
    expect_words(bad.error_msg, "priority is 9")
    look = awarded(follower, "look")
    early = report(look.agent, "look", look.award, COMPLETED)
    expect_equal(early.error_code, CONFLICT, "code of a task that ends before it began")
    expect_equal(report(look.agent, "look", look.award, RUNNING).error_code, NONE, "code of its beginning")
    for _ in range(2):
        expect_equal(report(look.agent, "look", look.award, COMPLETED, b"seen").error_code, NONE, "code of its end")
    for via in NAMES:
        peer.wait_until(lambda: state(via, "look").state == SwarmTaskState.STATE_COMPLETED, f"its end at {via}")
        expect_equal(bytes(state(via, "look").result), b"seen", "result")
        expect_equal(list(tasks[via][-1].counts), [0, 0, 0, 0, 1, 0, 0], "counts")

    # What nobody can do waits and says why, and can be taken back.
    submit(first, id="fly", kind="fly", required_capabilities=["fly"])
    peer.wait_until(lambda: "capable of 'fly'" in state(follower, "fly").reason, "why it waits")
    cancel = peer.call(cancels[follower], CancelTask.Request(caller=peer.caller(), id="fly"))
    expect_equal(cancel.error_code, NONE, f"code of a cancellation ({cancel.error_msg})")
    peer.wait_until(lambda: state(first, "fly").state == SwarmTaskState.STATE_CANCELLED, "its cancellation")

    print("leads", first, flush=True)
    rest = [name for name in NAMES if name != first]
    peer.wait_until(lambda: leader_of(rest) in rest, "another leader", LONG)
    print("instead", leader_of(rest), flush=True)
    expect_equal(state(rest[0], "look").state, SwarmTaskState.STATE_COMPLETED, "what was done before")
    answer = submit(rest[0], kind="after")
    expect_equal(answer.error_code, NONE, f"code without the first leader ({answer.error_msg})")
    expect(answer.id != "", "a task without id was given none")

    while sys.stdin.readline().strip() != "back":
        pass
    epoch = 2
    peer.wait_until(lambda: health(rest[0], first).agent.epoch == epoch
                    and health(rest[0], first).health == SwarmPeer.HEALTH_ALIVE, "its return in a later epoch", LONG)
    peer.wait_until(lambda: leader_of(NAMES) != "", "a leader again", LONG)

    # A robot is lost in mid-task: another one does it, and what the first one says counts no more.
    second = leader_of(NAMES)
    holder = next(name for name in NAMES if name != second)
    submit(second, id="carry", kind="carry", preferred_agents=[holder])
    carry = awarded(second, "carry")
    expect_equal(carry.agent, holder, "who is preferred")
    expect_equal(report(holder, "carry", carry.award, RUNNING).error_code, NONE, "code of its beginning")
    # It tells that it works, so that it is expected to be heard every 500 ms.
    peer.wait_until(lambda: health(second, holder).agent.state == 3, "that it works")
    print("works", holder, flush=True)
    while sys.stdin.readline().strip() != "gone":
        pass
    begun = time.monotonic()
    other = awarded(second, "carry", but=holder)
    print(f"another one has it {time.monotonic() - begun:.2f} s later")
    expect(other.award > carry.award, "the award's number did not grow")
    late = report(second, "carry", carry.award, COMPLETED)
    expect_equal(late.error_code, CONFLICT, "code of a report on the lost robot's award")
    expect_words(late.error_msg, f"award {other.award}", f"of {carry.award}")
    report(other.agent, "carry", other.award, RUNNING)
    expect_equal(report(other.agent, "carry", other.award, COMPLETED).error_code, NONE, "code of its end")
    peer.wait_until(lambda: state(second, "carry").state == SwarmTaskState.STATE_COMPLETED, "its end")


run(scenario)
