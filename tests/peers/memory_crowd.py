"""Four writers and four readers at once, each with a request under way all the time, for so many seconds."""

import sys

from ecps_msgs.msg import MemoryRecord, MemoryStats
from ecps_msgs.srv import PutMemory, QueryMemory

from peer import expect, expect_equal, run

WRITERS, READERS, BATCH = 4, 4, 4


def scenario(peer):
    put = [peer.client(PutMemory, "/mep_server/put") for _ in range(WRITERS)]
    query = [peer.client(QueryMemory, "/mep_server/query") for _ in range(READERS)]
    stats = peer.listen(MemoryStats, "/mep_server/stats")
    kept, asked = 0, 0

    def write(writer):
        memories = [MemoryRecord(model_id="crowd", embedding=[1.0, float(writer), float(kept + i)]) for i in range(BATCH)]
        return put[writer].call_async(PutMemory.Request(caller=peer.caller(lifetime=60.0), records=memories))

    def read(reader):
        request = QueryMemory.Request(caller=peer.caller(lifetime=60.0), model_id="crowd", embedding=[1.0, float(reader), 1.0])
        return query[reader].call_async(request)

    first = write(0)
    peer.wait_until(first.done, "the first answer")
    expect_equal(first.result().error_msg, "", "the first answer")
    kept += BATCH
    print("begun", flush=True)
    begun, last = peer.now(), float(sys.argv[1]) * 1e9
    writing, reading = [write(writer) for writer in range(WRITERS)], [read(reader) for reader in range(READERS)]
    while writing or reading:
        goes_on = (peer.now() - begun).nanoseconds < last
        peer.spin()
        for futures, ask in ((writing, write), (reading, read)):
            for which, future in enumerate(futures):
                if future is None or not future.done():
                    expect((peer.now() - begun).nanoseconds < last + 30e9, "an answer was lost")
                    continue
                answer = future.result()
                expect_equal((answer.error_code, answer.error_msg), (0, ""), "an answer")
                kept, asked = (kept + BATCH, asked) if ask is write else (kept, asked + 1)
                futures[which] = ask(which) if goes_on else None
        if not goes_on:
            writing, reading = [f for f in writing if f is not None], [f for f in reading if f is not None]
    stats.clear()
    peer.wait_until(lambda: stats, "~/stats")
    found = (stats[-1].records, stats[-1].queries, stats[-1].refused, stats[-1].damaged)
    expect_equal(found, (kept, asked, 0, 0), "records, queries, refusals and damaged rows in ~/stats")
    print(f"{kept} records kept and {asked} queries answered", flush=True)


run(scenario)
