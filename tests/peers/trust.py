"""Asks an executor and a memory that want tokens: without one, with one, with another's, after it was revoked."""

import pathlib
import sys
import time

from ecps_msgs.msg import GateState, MemoryRecord
from ecps_msgs.srv import EnableGate, GetMemory, PutMemory, ResetGate, RotateKey, SetLimits
from geometry_msgs.msg import Twist
from std_srvs.srv import Trigger

from peer import LATCHED, expect, expect_equal, expect_words, run

DEVICE, TOKENS = sys.argv[1], pathlib.Path(sys.argv[2])
UNAUTHORIZED = 5
# Revocation is everywhere within this time, seconds.
WITHIN = 5.0


def told(line):
    print(line, flush=True)
    return sys.stdin.readline().strip()


def scenario(peer):
    gate = "/robot1/eap_executor"
    states = peer.listen(GateState, f"{gate}/state", LATCHED)
    enable = peer.client(EnableGate, f"{gate}/enable")
    reset = peer.client(ResetGate, f"{gate}/reset")
    estop = peer.client(Trigger, f"{gate}/estop")
    limits = peer.client(SetLimits, f"{gate}/set_limits")

    def caller(token="", bearer=DEVICE):
        caller = peer.caller()
        caller.id, caller.token = bearer, token
        return caller

    def token(name):
        path = TOKENS / name
        peer.wait_until(path.exists, f"the token {name}")
        return path.read_text()

    def arm(**who):
        return peer.call(enable, EnableGate.Request(caller=caller(**who), enable=True))

    def refused(answer, *words):
        expect_equal(answer.error_code, UNAUTHORIZED, f"the outcome ({answer.error_msg})")
        expect_words(answer.error_msg, *words)

    def mode():
        return states[-1].mode if states else None

    peer.wait_until(lambda: mode() == GateState.MODE_DISARMED, "the gate, which activation did not arm")
    refused(arm(), "carries no token")
    refused(arm(token="not.a.token"), "token")
    mine = token("executor")

    # The fleet's keys reach the executor as fast as its tokens reach us, and no faster.
    answers = []

    def admitted():
        answers.append(arm(token=mine))
        return answers[-1].error_code == 0

    peer.wait_until(admitted, "a token that is accepted")
    expect(all("not made known" in a.error_msg or "not heard" in a.error_msg for a in answers[:-1]), f"{answers[:-1]}")
    peer.wait_until(lambda: mode() == GateState.MODE_IDLE, "the gate armed")
    refused(arm(token=mine, bearer="0000000000000000"), "given to", "0000000000000000")
    refused(arm(token=token("memory")), "is for '/robot1/mep_server'")

    # A topic carries no token.
    velocity = peer.publisher(Twist, "/robot1/cmd_vel_in")
    count = lambda: dict(zip(states[-1].reasons, states[-1].reason_counts)).get("no_token", 0)
    peer.publish_until(velocity, Twist(), lambda: count() > 0, "a refused velocity")
    expect_words(states[-1].last_refusal, "cmd_vel_in", "no token")
    expect_equal((states[-1].admitted, states[-1].limited), (0, 0), "velocities that passed")

    # The same number twice, for something else.
    again = caller(token=mine)
    expect_equal(peer.call(enable, EnableGate.Request(caller=again, enable=True)).error_code, 0, "its first use")
    refused(peer.call(limits, SetLimits.Request(caller=again)), "seen before")

    # Anyone may stop, and disarm; an operator does not leave the stop.
    expect(peer.call(estop, Trigger.Request()).success, "a stop without a token")
    peer.wait_until(lambda: mode() == GateState.MODE_STOPPED, "the stop")
    expect_equal(peer.call(enable, EnableGate.Request(caller=caller(), enable=False)).error_code, 0, "disarming")
    expect_equal(arm(token=mine).error_code, 0, "arming again")
    refused(peer.call(reset, ResetGate.Request(caller=caller(token=mine))), "configure:robot is denied", "robot_operator")
    expect_equal(mode(), GateState.MODE_STOPPED, "the mode after a refused reset")

    # Namespaces of the memory, by a policy of its own.
    put, get = peer.client(PutMemory, "/robot1/mep_server/put"), peer.client(GetMemory, "/robot1/mep_server/get")

    def remember(namespace, **who):
        record = MemoryRecord(id="a", memory_namespace=namespace, model_id="m", embedding=[1.0, 0.0])
        return peer.call(put, PutMemory.Request(caller=caller(**who), records=[record]))

    memory = token("memory")
    peer.wait_until(lambda: remember("kitchen", token=memory).error_code == 0, "a memory that is put")
    refused(remember("kitchen"), "carries no token")
    refused(remember("office", token=memory), "put:memory/office is denied")
    asked = GetMemory.Request(caller=caller(token=memory), memory_namespace="kitchen", id="a")
    expect_equal([peer.call(get, asked).error_code for _ in range(2)], [0, 0], "the same question twice")
    asked = GetMemory.Request(caller=caller(token=memory), memory_namespace="office", id="a")
    refused(peer.call(get, asked), "get:memory/office is denied")

    # Rotation under load: old tokens and new ones, and nothing valid is refused.
    told("rotate")
    end, asked, bad = time.monotonic() + 8.0, 0, []
    while time.monotonic() < end:
        answer = arm(token=(TOKENS / "fresh").read_text() if asked % 2 and (TOKENS / "fresh").exists() else mine)
        asked += 1
        if answer.error_code != 0:
            bad.append(answer.error_msg)
    expect(not bad, f"{len(bad)} of {asked} valid requests were refused: {bad[:3]}")
    print(f"{asked} requests under rotation", flush=True)

    # Without rights to the fleet nobody changes it.
    rotate = peer.client(RotateKey, "/fleet/trust_agent/rotate_key")
    refused(peer.call(rotate, RotateKey.Request(caller=caller(token=mine), purpose=2)), "is for '/robot1/eap_executor'")

    told("revoke")
    begun = time.monotonic()
    peer.wait_until(lambda: arm(token=mine).error_code == UNAUTHORIZED, "the revocation", WITHIN)
    took = time.monotonic() - begun
    refused(arm(token=mine), DEVICE, "is revoked")
    refused(remember("kitchen", token=memory), DEVICE, "is revoked")
    expect(peer.call(estop, Trigger.Request()).success, "a stop by a revoked device")
    print(f"revoked after {took:.2f} s", flush=True)


run(scenario)
