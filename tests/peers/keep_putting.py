"""Puts batches as fast as they are acknowledged, whatever happens to the server; then looks for every one.

Prints `acknowledged <n>` for each batch, and stops putting on the first line of standard input.
"""

import os
import select
import sys

from ecps_msgs.msg import MemoryRecord
from ecps_msgs.srv import PutMemory, QueryMemory

from peer import expect, expect_equal, run

# Records of a batch, which is there whole or not at all.
BATCH = 3
# Batches under way at once, so that the server dies with some of them half done.
AT_ONCE = 4


def payload(number, part):
    return f"memory {number} {part} ".encode() * 20


def request(peer, number):
    records = []
    for part in range(BATCH):
        memory = MemoryRecord(id=f"m{number}.{part}", model_id="count", embedding=[1.0, float(number), float(part)])
        memory.labels, memory.payload_type, memory.payload = [f"batch {number}"], "text/plain", payload(number, part)
        records.append(memory)
    return PutMemory.Request(caller=peer.caller(lifetime=120.0), records=records)


def asked_to_stop():
    readable, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(readable) and os.read(sys.stdin.fileno(), 64) is not None


def scenario(peer):
    put = peer.client(PutMemory, "/mep_server/put")
    # By number, with the versions that the answer named; None where nobody knows what became of it.
    versions, number, under_way = {}, 0, {}
    while not asked_to_stop():
        while len(under_way) < AT_ONCE:
            number += 1
            asked = request(peer, number)
            versions[number] = None
            under_way[number] = (asked, put.call_async(asked), peer.now())
        peer.spin()
        for which, (asked, future, since) in list(under_way.items()):
            if future.done():
                answer = future.result()
                expect_equal((answer.error_code, answer.error_msg), (0, ""), f"the answer to batch {which}")
                versions[which] = list(answer.versions)
                del under_way[which]
                print(f"acknowledged {which}", flush=True)
            elif (peer.now() - since).nanoseconds > 500_000_000:
                put.remove_pending_request(future)
                del under_way[which]
                # The same request again: whether the dead server had stored it nobody knows. Every second one is left as it
                # is, so that a torn batch is not healed by the next attempt.
                if which % 2 == 0:
                    under_way[which] = (asked, put.call_async(asked), peer.now())

    query = peer.client(QueryMemory, "/mep_server/query")
    found, absent = 0, 0
    for which, known in versions.items():
        answer = peer.call(query, QueryMemory.Request(caller=peer.caller(), labels=[f"batch {which}"]))
        expect_equal((answer.error_code, answer.error_msg), (0, ""), f"the answer to a query for batch {which}")
        records = {hit.record.id: hit.record for hit in answer.hits}
        if known is None and not records:
            absent += 1
            continue
        expect_equal(sorted(records), [f"m{which}.{part}" for part in range(BATCH)], f"what is there of batch {which}")
        for part in range(BATCH):
            record = records[f"m{which}.{part}"]
            expect(bytes(record.payload) == payload(which, part), f"the payload of {record.id} is not what was put")
            expect_equal(list(record.embedding), [1.0, float(which), float(part)], f"the embedding of {record.id}")
            expect(known is None or record.version == known[part], f"{record.id} has version {record.version}")
        found += known is not None
    print(f"found {found} acknowledged; of {len(versions) - found} others {absent} are absent", flush=True)


run(scenario)
