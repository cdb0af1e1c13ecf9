"""Puts, gets, queries and deletes memories as any ROS node would."""

import math

from builtin_interfaces.msg import Time
from ecps_msgs.msg import MemoryHit, MemoryRecord, MemoryStats
from ecps_msgs.srv import (
    ConsolidateMemory,
    DeleteMemory,
    GetMemory,
    PutMemory,
    QueryMemory,
    ReanchorMemory,
    RestoreMemory,
    SnapshotMemory,
)
from geometry_msgs.msg import Point
from visualization_msgs.msg import Marker, MarkerArray

from peer import LATCHED, expect, expect_equal, expect_words, run

NONE, INVALID, EXPIRED, NOT_FOUND = 0, 1, 4, 6


def record(identifier, degrees, second, x, labels=()):
    """A memory in a direction of the plane, at a time and a place."""
    angle = math.radians(degrees)
    memory = MemoryRecord(id=identifier, model_id="plane", embedding=[math.cos(angle), math.sin(angle)])
    memory.header.stamp = Time(sec=second, nanosec=5)
    memory.header.frame_id = "map"
    memory.has_pose = True
    memory.pose.position.x = float(x)
    memory.pose.orientation.w = 1.0
    memory.labels = list(labels)
    memory.robot, memory.topic = "robot1", "scan"
    memory.payload_type, memory.payload = "text/plain", list(identifier.encode())
    return memory


def scenario(peer):
    put = peer.client(PutMemory, "/mep_server/put")
    get = peer.client(GetMemory, "/mep_server/get")
    query = peer.client(QueryMemory, "/mep_server/query")
    delete = peer.client(DeleteMemory, "/mep_server/delete")
    snapshot = peer.client(SnapshotMemory, "/mep_server/snapshot")
    restore = peer.client(RestoreMemory, "/mep_server/restore")
    reanchor = peer.client(ReanchorMemory, "/mep_server/reanchor")
    matches = peer.listen(MemoryHit, "/mep_server/matches/evens")
    stats = peer.listen(MemoryStats, "/mep_server/stats")

    def ask(**conditions):
        request = QueryMemory.Request(caller=peer.caller(), k=10, min_sim=0.7)
        for name, value in conditions.items():
            setattr(request, name, value)
        answer = peer.call(query, request)
        expect_equal(answer.error_code, NONE, f"code of a query ({answer.error_msg})")
        return answer

    def ids(answer):
        return [hit.record.id for hit in answer.hits]

    # Ten memories, 10 degrees, 10 seconds and 10 metres apart.
    memories = [record(f"m{i}", 10 * i, 100 + 10 * i, 10 * i, ["even"] if i % 2 == 0 else []) for i in range(10)]
    answer = peer.call(put, PutMemory.Request(caller=peer.caller(), records=memories))
    expect_equal((answer.error_code, answer.error_msg), (NONE, ""), "the answer to a put")
    expect_equal(list(answer.ids), [memory.id for memory in memories], "the ids put")
    expect_equal(list(answer.versions), [1] * 10, "the versions put")
    peer.wait_until(lambda: len(matches) == 5, "the matches of a standing query")
    expect_equal(sorted(hit.record.id for hit in matches), ["m0", "m2", "m4", "m6", "m8"], "the matches")

    answer = peer.call(get, GetMemory.Request(caller=peer.caller(), id="m3"))
    expected = record("m3", 30, 130, 30)
    expected.memory_namespace, expected.version, expected.sightings = "default", 1, 1
    expected.last_seen = expected.header.stamp
    expect(answer.record.observed.sec > 1_700_000_000, "when it was taken in is the server's time")
    expected.observed = answer.record.observed
    expect_equal(answer.record, expected, "the memory got")
    answer = peer.call(get, GetMemory.Request(caller=peer.caller(), id="m99"))
    expect_equal(answer.error_code, NOT_FOUND, "code of a get of nothing")
    expect_words(answer.error_msg, "m99", "default")

    # By likeness: best first, with the cosine of the angle between.
    like = {"embedding": [math.cos(math.radians(32)), math.sin(math.radians(32))], "model_id": "plane"}
    answer = ask(**like, k=3)
    expect_equal(ids(answer), ["m3", "m4", "m2"], "the three most alike")
    for hit, degrees in zip(answer.hits, [2, 8, 12]):
        expect(abs(hit.similarity - math.cos(math.radians(degrees))) < 1e-5, f"likeness {hit.similarity} to {degrees} degrees")
    expect_equal(answer.total_matched, 8, "matches with at least 0.7")
    expect_equal(ids(ask(**like, min_sim=0.97)), ["m3", "m4", "m2"], "those with at least 0.97")
    # By time, both ends included; by place; by labels; and all at once.
    window = {"not_before": Time(sec=120, nanosec=5), "not_after": Time(sec=140, nanosec=5)}
    expect_equal(ids(ask(**window)), ["m4", "m3", "m2"], "those of the time window, newest first")
    place = {"frame_id": "map", "center": Point(x=50.0), "radius": 10.5}
    expect_equal(sorted(ids(ask(**place))), ["m4", "m5", "m6"], "those of the place")
    expect_equal(ids(ask(frame_id="odom", center=Point(x=50.0), radius=10.5)), [], "those of another frame's place")
    expect_equal(sorted(ids(ask(labels=["even"]))), ["m0", "m2", "m4", "m6", "m8"], "those with the label")
    expect_equal(ids(ask(**like, **window, **place, labels=["even"])), ["m4"], "those that meet all conditions")

    corners = [Point(x=35.0, y=-1.0), Point(x=65.0, y=-1.0), Point(x=65.0, y=1.0), Point(x=35.0, y=1.0)]
    expect_equal(sorted(ids(ask(frame_id="map", corners=corners))), ["m4", "m5", "m6"], "those of the polygon")
    answer = ask(**like, exact=True)
    expect_equal((answer.index, answer.recall, answer.cut_short), ("scan", 1.0, False), "how it was found")
    answer = ask(weight_recency=1.0, weight_importance=1.0)
    expect(all(0 <= hit.score <= 2 and hit.importance == 0.5 for hit in answer.hits), "the parts of the score")

    # RViz sees where memories are and where the last hits were, all of it in each message.
    markers = peer.listen(MarkerArray, "/mep_server/markers", LATCHED)

    def drawn(name):
        if not markers:
            return None
        expect_equal(markers[-1].markers[0].action, Marker.DELETEALL, "what was drawn before")
        return sorted(p.x for m in markers[-1].markers[1:] if m.ns == name and m.header.frame_id == "map" for p in m.points)

    peer.wait_until(lambda: drawn("memories") == [10.0 * i for i in range(10)], "markers of all memories")
    answer = ask(**place)
    expect_equal((answer.staleness.sec, answer.staleness.nanosec), (0, 0), "staleness of a single store")
    peer.wait_until(lambda: drawn("hits") == [40.0, 50.0, 60.0], "markers of the last hits")
    expect_equal(len(drawn("memories")), 10, "markers of memories beside those of hits")

    # A summary of what is alike names its members, which stay.
    consolidate = peer.client(ConsolidateMemory, "/mep_server/consolidate")
    request = ConsolidateMemory.Request(caller=peer.caller(), model_id="plane", min_sim=0.97, members=3)
    request.not_after = Time(sec=140, nanosec=5)
    answer = peer.call(consolidate, request)
    expect_equal((answer.error_code, len(answer.ids)), (NONE, 1), f"the summaries ({answer.error_msg})")
    summary = peer.call(get, GetMemory.Request(caller=peer.caller(), id=answer.ids[0])).record
    expect(len(summary.parents) >= 3 and set(summary.parents) <= {f"m{i}" for i in range(5)}, f"parents {summary.parents}")
    for member in summary.parents:
        expect_equal(peer.call(get, GetMemory.Request(caller=peer.caller(), id=member)).error_code, NONE, "a member")
    request = ConsolidateMemory.Request(caller=peer.caller(), model_id="plane", min_sim=0.97, members=1)
    answer = peer.call(consolidate, request)
    expect_equal(answer.error_code, INVALID, "code of groups of one")
    answer = peer.call(delete, DeleteMemory.Request(caller=peer.caller(), ids=[summary.id]))
    expect_equal(answer.deleted, 1, "the summary deleted")

    # A snapshot brings back what was deleted and moved since.
    answer = peer.call(snapshot, SnapshotMemory.Request(caller=peer.caller(), name="tour"))
    expect_equal((answer.error_code, answer.records), (NONE, 10), f"the snapshot ({answer.error_msg})")
    request = ReanchorMemory.Request(caller=peer.caller(), frame_id="map")
    request.transform.translation.x, request.transform.rotation.w = 1000.0, 1.0
    answer = peer.call(reanchor, request)
    expect_equal((answer.error_code, answer.moved), (NONE, 10), f"what was moved ({answer.error_msg})")
    expect_equal(ids(ask(**place)), [], "those of the place that moved away")
    answer = peer.call(delete, DeleteMemory.Request(caller=peer.caller(), ids=["m5"], erase=True))
    expect_equal((answer.error_code, answer.deleted), (NONE, 1), f"the answer to an erasure ({answer.error_msg})")
    answer = peer.call(restore, RestoreMemory.Request(caller=peer.caller(), name="tour"))
    expect_equal((answer.error_code, answer.records), (NONE, 10), f"what was restored ({answer.error_msg})")
    expect_equal(sorted(ids(ask(**place))), ["m4", "m5", "m6"], "those of the place, back where they were")
    answer = peer.call(snapshot, SnapshotMemory.Request(caller=peer.caller(), name="../x"))
    expect_equal(answer.error_code, INVALID, "code of a snapshot elsewhere")

    # Asking again with the same id and sequence gives the first answer, and stores once.
    again = PutMemory.Request(caller=peer.caller(), records=[record("", 45, 300, 0)])
    first = peer.call(put, again)
    expect_equal(first.error_code, NONE, "code of a put without id")
    expect(len(first.ids[0]) == 36, f"id '{first.ids[0]}' should be a UUID")
    expect_equal(peer.call(put, again), first, "the answer to a repeated put")
    expect_equal(ids(ask(not_before=Time(sec=300))), [first.ids[0]], "what a repeated put stored")
    again.caller = peer.caller()
    expect(peer.call(put, again).ids != first.ids, "another request must store again")

    # Refusals name the value and the limit, and store nothing.
    wide = record("wide", 0, 1, 0)
    wide.embedding = [1.0, 2.0, 3.0]
    nan = record("nan", 0, 1, 0)
    nan.embedding = [0.5, math.nan]
    tilted = record("tilted", 0, 1, 0)
    tilted.pose.orientation.w = 2.0
    for bad, words in [(wide, ["3 elements", "have 2"]), (nan, ["embedding[1]", "NaN", "finite"]), (tilted, ["norm 2", "unit"])]:
        answer = peer.call(put, PutMemory.Request(caller=peer.caller(), records=[record("good", 0, 1, 0), bad]))
        expect_equal(answer.error_code, INVALID, f"code of a put of '{bad.id}'")
        expect_words(answer.error_msg, *words)
        answer = peer.call(get, GetMemory.Request(caller=peer.caller(), id="good"))
        expect_equal(answer.error_code, NOT_FOUND, "code of a get of what a refused batch held")
    answer = peer.call(query, QueryMemory.Request(caller=peer.caller(), k=0, min_sim=0.7))
    expect_equal(answer.error_code, INVALID, "code of a query for nothing")
    expect_words(answer.error_msg, "k is 0", "1 to 1000")
    expired = PutMemory.Request(caller=peer.caller(age=2.0, lifetime=0.5), records=[record("late", 0, 1, 0)])
    answer = peer.call(put, expired)
    expect_equal(answer.error_code, EXPIRED, "code of a put that comes too late")
    expect_words(answer.error_msg, "ms old", "lifetime is 500 ms")
    nobody = PutMemory.Request(records=[record("nobody", 0, 1, 0)])
    answer = peer.call(put, nobody)
    expect_equal(answer.error_code, INVALID, "code of a put by nobody")
    expect_words(answer.error_msg, "caller.id", "empty")

    answer = peer.call(delete, DeleteMemory.Request(caller=peer.caller(), ids=["m0", "m1", "m99"]))
    expect_equal((answer.error_code, answer.deleted), (NONE, 2), "the answer to a delete")
    answer = peer.call(get, GetMemory.Request(caller=peer.caller(), id="m0"))
    expect_equal(answer.error_code, NOT_FOUND, "code of a get of what was deleted")

    peer.wait_until(lambda: stats and stats[-1].deletes == 4, "the deletes in ~/stats")
    expect_equal(stats[-1].records, 10, "records in ~/stats")


run(scenario)
