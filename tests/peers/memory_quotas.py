"""Fills namespaces beyond their quotas, with a server whose namespaces `faces` and `notes` have some of their own."""

import math

from ecps_msgs.msg import MemoryRecord, MemoryStats
from ecps_msgs.srv import GetMemory, PutMemory, QueryMemory

from peer import expect_equal, expect_words, run

NONE, INVALID = 0, 1


def record(namespace, number, pinned=False, payload=0):
    angle = math.radians(10 * number)
    memory = MemoryRecord(id=f"m{number}", memory_namespace=namespace, model_id="plane", pinned=pinned)
    memory.embedding, memory.payload = [math.cos(angle), math.sin(angle)], bytes(payload)
    return memory


def scenario(peer):
    put = peer.client(PutMemory, "/mep_server/put")
    get = peer.client(GetMemory, "/mep_server/get")
    query = peer.client(QueryMemory, "/mep_server/query")
    stats = peer.listen(MemoryStats, "/mep_server/stats")

    def keep(*records):
        answer = peer.call(put, PutMemory.Request(caller=peer.caller(), records=records))
        expect_equal((answer.error_code, answer.error_msg), (NONE, ""), "the answer to a put")

    def refused(*records):
        answer = peer.call(put, PutMemory.Request(caller=peer.caller(), records=records))
        expect_equal(answer.error_code, INVALID, f"code of a put that cannot fit ({answer.error_msg})")
        return answer.error_msg

    def is_kept(namespace, number):
        # A get is no hit, so it changes nothing of what goes next.
        request = GetMemory.Request(caller=peer.caller(), memory_namespace=namespace, id=f"m{number}")
        return peer.call(get, request).error_code == NONE

    def kept(namespace):
        return [number for number in range(14) if is_kept(namespace, number)]

    def find(namespace, number):
        request = QueryMemory.Request(caller=peer.caller(), memory_namespace=namespace, k=1, model_id="plane")
        request.embedding = record(namespace, number).embedding
        expect_equal([hit.record.id for hit in peer.call(query, request).hits], [f"m{number}"], "the likest")

    # Four records in `faces`: the pinned one and those that were found stay, the others go, oldest first.
    keep(record("faces", 0, pinned=True))
    for number in (1, 2, 3):
        keep(record("faces", number))
    find("faces", 1)
    keep(record("faces", 4))
    keep(record("faces", 5))
    find("faces", 4)
    keep(record("faces", 6))
    expect_equal(kept("faces"), [0, 1, 4, 6], "what is left of seven faces")
    # A batch that needs room for two: first what nobody has found, then what was found the longest ago.
    find("faces", 1)
    keep(record("faces", 7), record("faces", 8))
    expect_equal(kept("faces"), [0, 1, 7, 8], "what is left of nine faces")
    # Beside a pinned one there is room for three, whatever goes.
    words = refused(*[record("faces", number) for number in (10, 11, 12, 13)])
    expect_words(words, "'faces'", "5 records", "quota of 4", "1 records", "pinned")
    expect_equal(kept("faces"), [0, 1, 7, 8], "faces after a refusal")

    # Bytes, of which a record has some hundreds beside its payload.
    words = refused(record("notes", 0, payload=24_000))
    expect_words(words, "'notes'", "bytes", "quota of 24000")
    for number in (1, 2, 3):
        keep(record("notes", number, payload=8_000))
    expect_equal(kept("notes"), [2, 3], "what 24000 bytes hold of three notes")
    keep(*[record("notes", number) for number in (4, 5, 6)])
    expect_equal(kept("notes"), [2, 3, 4, 5, 6], "notes, of which there may be any number")

    # A namespace that is not listed has the default of three records, and what it does leaves the others alone.
    for number in range(5):
        keep(record("elsewhere", number))
    expect_equal(kept("elsewhere"), [2, 3, 4], "what is left of five elsewhere")
    expect_equal(kept("faces"), [0, 1, 7, 8], "faces, beside a full namespace")

    # In `brief` memories last for a second.
    keep(record("brief", 1))
    peer.wait_until(lambda: kept("brief") == [], "a memory of `brief` to be forgotten")
    peer.wait_until(lambda: stats and stats[-1].expired == 1, "the expired one in ~/stats")
    expect_equal((stats[-1].evicted, stats[-1].refused), (8, 2), "evictions and refusals in ~/stats")
    expect_words(stats[-1].last_refusal, "quota of 24000")


run(scenario)
