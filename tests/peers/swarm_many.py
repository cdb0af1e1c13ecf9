"""Many at a time: a hundred agents, and a thousand submissions."""

import collections
import sys
import time

from ecps_msgs.msg import SwarmAgent, SwarmAgents, SwarmTask, SwarmTasks
from ecps_msgs.srv import SubmitTask

from peer import LATCHED, RELIABLE, expect, expect_equal, run

LONG = 60.0
TRANSIENT = type(RELIABLE)(depth=256, durability=LATCHED.durability)
AGENTS = 99
TASKS = 1_100
# Open tasks that the queue holds.
QUEUE = 1_000
# In flight at a time, each with a client of its own: services keep ten of each.
CLIENTS, EACH = 4, 8


def agents(peer, known):
    """This process speaks for 99 agents; the coordinator is the hundredth."""
    publisher = peer.node.create_publisher(SwarmAgent, "/swarm/agents", TRANSIENT)
    message = SwarmAgent(epoch=1, state=SwarmAgent.STATE_EXECUTING, battery=float("nan"))
    message.header.frame_id = "map"
    sequence = 0

    def beat():
        nonlocal sequence
        sequence += 1
        for number in range(AGENTS):
            message.id, message.sequence = f"a{number}", sequence
            publisher.publish(message)

    peer.node.create_timer(0.5, beat)
    alive = lambda: [one.agent.id for one in known[-1].agents if one.health == 0] if known else []
    peer.wait_until(lambda: len(alive()) == AGENTS + 1, f"{AGENTS + 1} agents that are alive", LONG)
    end = time.monotonic() + 3.0
    while time.monotonic() < end:
        peer.spin()
        expect_equal(len(alive()), AGENTS + 1, "agents that are alive")


def submissions(peer, tasks):
    clients = [peer.client(SubmitTask, "/r1/swarm_coordinator/submit_task") for _ in range(CLIENTS)]
    # Nobody can do them, so that they stay.
    waiting = collections.deque(
        SubmitTask.Request(caller=peer.caller(lifetime=LONG), task=SwarmTask(id=f"t{number}", required_capabilities=["fly"]))
        for number in range(TASKS))
    flying, answers = [], {}
    begun = time.monotonic()
    while len(answers) < TASKS:
        expect(time.monotonic() - begun < 2 * LONG, f"{len(answers)} of {TASKS} submissions were answered")
        while waiting and len(flying) < CLIENTS * EACH:
            request = waiting.popleft()
            client = clients[len(flying) % CLIENTS]
            flying.append((client.call_async(request), request, time.monotonic()))
        peer.executor.spin_once(timeout_sec=0.001)
        still = []
        for future, request, since in flying:
            if future.done():
                answers[request.task.id] = future.result().error_code
            elif time.monotonic() - since > 2.0:
                # Sent again under the same number, it is answered as the first time.
                waiting.append(request)
            else:
                still.append((future, request, since))
        flying = still
    took = time.monotonic() - begun
    codes = collections.Counter(answers.values())
    print(f"{TASKS} submissions in {took:.2f} s: {dict(codes)}")
    # 3 is OVERLOADED.
    expect_equal(dict(codes), {0: QUEUE, 3: TASKS - QUEUE}, "answers by code")
    peer.wait_until(lambda: sum(tasks[-1].counts) == QUEUE, f"{QUEUE} tasks, and not {list(tasks[-1].counts)}", LONG)
    taken = {task.task.id for task in tasks[-1].tasks}
    expect_equal(taken, {name for name, code in answers.items() if code == 0}, "tasks that are in the queue")


def scenario(peer):
    known = peer.listen(SwarmAgents, "/r1/swarm_coordinator/agents", LATCHED)
    tasks = peer.listen(SwarmTasks, "/r1/swarm_coordinator/tasks", LATCHED)
    peer.wait_until(lambda: known and tasks, "the coordinator", LONG)
    if sys.argv[1] == "agents":
        agents(peer, known)
    else:
        submissions(peer, tasks)


run(scenario)
