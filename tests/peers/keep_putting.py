"""Puts memories as fast as they are acknowledged, whatever happens to the server; then looks for every one.

Prints `acknowledged <n>` for each put, and stops putting on the first line of standard input.
"""

import os
import select
import sys

from ecps_msgs.msg import MemoryRecord
from ecps_msgs.srv import GetMemory, PutMemory

from peer import expect_equal, run

# Requests under way at once, so that the server dies with some of them half done.
AT_ONCE = 4


def payload(number):
    return f"memory {number} ".encode() * 20


def request(peer, number):
    memory = MemoryRecord(id=f"m{number}", model_id="count", embedding=[1.0, float(number)])
    memory.payload_type, memory.payload = "text/plain", payload(number)
    return PutMemory.Request(caller=peer.caller(lifetime=120.0), records=[memory])


def asked_to_stop():
    readable, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(readable) and os.read(sys.stdin.fileno(), 64) is not None


def scenario(peer):
    put = peer.client(PutMemory, "/mep_server/put")
    acknowledged, number, under_way = {}, 0, {}
    while not asked_to_stop():
        while len(under_way) < AT_ONCE:
            number += 1
            asked = request(peer, number)
            under_way[number] = (asked, put.call_async(asked), peer.now())
        peer.spin()
        for which, (asked, future, since) in list(under_way.items()):
            if future.done():
                answer = future.result()
                expect_equal((answer.error_code, answer.error_msg), (0, ""), f"the answer to put {which}")
                acknowledged[which] = answer.versions[0]
                del under_way[which]
                print(f"acknowledged {which}", flush=True)
            elif (peer.now() - since).nanoseconds > 500_000_000:
                # The same request again: whether the dead server had stored it nobody knows.
                put.remove_pending_request(future)
                under_way[which] = (asked, put.call_async(asked), peer.now())

    get = peer.client(GetMemory, "/mep_server/get")
    for which, version in acknowledged.items():
        answer = peer.call(get, GetMemory.Request(caller=peer.caller(), id=f"m{which}"))
        expect_equal((answer.error_code, answer.error_msg), (0, ""), f"the answer to a get of acknowledged put {which}")
        expect_equal(bytes(answer.record.payload), payload(which), f"the payload of put {which}")
        expect_equal(list(answer.record.embedding), [1.0, float(which)], f"the embedding of put {which}")
        expect_equal(answer.record.version, version, f"the version of put {which}")
    print(f"found {len(acknowledged)}", flush=True)


run(scenario)
