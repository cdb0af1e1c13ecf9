"""Puts and asks what no memory may take in; each is refused with its value and limit, counted, and harms nothing."""

import array
import math

from ecps_msgs.msg import MemoryRecord, MemoryStats
from ecps_msgs.srv import DeleteMemory, GetMemory, PutMemory, QueryMemory, ReanchorMemory, SnapshotMemory
from geometry_msgs.msg import Point

from peer import RELIABLE, expect, expect_equal, expect_words, run

NONE, INVALID = 0, 1
SQL = "'); DROP TABLE record; --"


def record(**fields):
    memory = MemoryRecord(model_id="plane", embedding=[1.0, 0.0], text="a cup that Robert left")
    memory.pose.orientation.w = 1.0
    for name, value in fields.items():
        setattr(memory, name, value)
    return memory


def placed(x=0.0, w=1.0, frame="map"):
    memory = record(has_pose=True)
    memory.header.frame_id, memory.pose.position.x, memory.pose.orientation.w = frame, x, w
    return memory


PUTS = [
    (record(payload=array.array("B", bytes(10 << 20))), ["payload has 10485760 bytes", "1048576 allowed"]),
    (record(embedding=[1.0, math.nan]), ["embedding[1] is NaN", "finite"]),
    (record(embedding=[-math.inf, 1.0]), ["embedding[0] is -inf", "finite"]),
    (record(embedding=[1.0, 2.0, 3.0]), ["embedding has 3 elements", "'plane'", "have 2"]),
    (record(embedding=[]), ["embedding is empty"]),
    (record(embedding=[0.0, 0.0]), ["embedding is all zero"]),
    (record(embedding=[1.0] * 4097), ["embedding has 4097 elements", "4096 allowed"]),
    (record(model_id=""), ["model_id is empty"]),
    (record(id="x" * 129), ["id has 129 bytes", "128 allowed"]),
    (record(memory_namespace="x" * 129), ["memory_namespace has 129 bytes"]),
    (record(labels=[""]), ["labels[0] is empty"]),
    (record(labels=["fine", SQL * 6]), ["labels[1] has 150 bytes", "128 allowed"]),
    (record(labels=["x"] * 65), ["labels has 65 entries", "64 allowed"]),
    (record(text="x " * 8193), ["text has 16386 bytes", "16384 allowed"]),
    (record(importance=math.nan), ["importance is NaN"]),
    (record(importance=1.5), ["importance is 1.5", "0 to 1"]),
    (record(pose_covariance=[math.nan] * 36), ["pose_covariance[0] is NaN"]),
    (record(pose_covariance=[0.0] * 35), ["pose_covariance has 35 numbers", "36"]),
    (placed(x=math.inf), ["pose.position.x is inf", "finite"]),
    (placed(w=2.0), ["pose.orientation has norm 2", "unit"]),
    (placed(w=math.nan), ["pose.orientation", "NaN"]),
    (placed(frame=""), ["header.frame_id is empty"]),
]

QUERIES = [
    ({"embedding": [1.0, 0.0]}, ["model_id is empty"]),
    ({"embedding": [1.0, math.nan], "model_id": "plane"}, ["embedding[1] is NaN"]),
    ({"embedding": [1.0, 2.0, 3.0], "model_id": "plane"}, ["embedding has 3 elements", "have 2"]),
    ({"embedding": [0.0, 0.0], "model_id": "plane"}, ["embedding is all zero"]),
    ({"text": "\"'(*:^- --"}, ["text is", "no word"]),
    ({"text": "x" * 1025}, ["text has 1025 bytes", "1024 allowed"]),
    ({"labels": [""]}, ["labels[0] is empty"]),
    ({"labels": ["x"] * 65}, ["labels has 65 entries"]),
    ({"k": 0}, ["k is 0", "1 to 1000"]),
    ({"k": 4_000_000_000}, ["k is 4000000000", "1 to 1000"]),
    ({"min_sim": math.nan}, ["min_sim is NaN"]),
    ({"frame_id": "map", "radius": math.nan}, ["radius is NaN"]),
    ({"frame_id": "map", "radius": -1.0}, ["radius is -1"]),
    ({"frame_id": "map", "corners": [Point(x=math.nan), Point()]}, ["NaN"]),
    ({"radius": 1.0}, ["frame_id is empty"]),
    ({"weight_recency": math.inf}, ["weight_recency is inf"]),
]

# What FTS5 would take for syntax is looked for as words, and finds nothing where one of them is not there.
SYNTAX = ["cup OR nothing", "rob*", "text:cup", "NEAR(cup robert, 9)", "cup NOT nothing", '"cup" "nothing"', SQL]


def scenario(peer):
    put = peer.client(PutMemory, "/mep_server/put")
    get = peer.client(GetMemory, "/mep_server/get")
    query = peer.client(QueryMemory, "/mep_server/query")
    delete = peer.client(DeleteMemory, "/mep_server/delete")
    snapshot = peer.client(SnapshotMemory, "/mep_server/snapshot")
    reanchor = peer.client(ReanchorMemory, "/mep_server/reanchor")
    stats = peer.listen(MemoryStats, "/mep_server/stats")
    observe = peer.publisher(MemoryRecord, "/mep_server/observe", RELIABLE)

    def ask(**conditions):
        request = QueryMemory.Request(caller=peer.caller())
        for name, value in conditions.items():
            setattr(request, name, value)
        return peer.call(query, request)

    good = record(id="good", labels=[SQL, 'say "cup"', "%", "a label, with: everything*"])
    answer = peer.call(put, PutMemory.Request(caller=peer.caller(), records=[good]))
    expect_equal((answer.error_code, answer.error_msg), (NONE, ""), "the answer to a put of odd labels")

    refused = 0

    def expect_refusal(answer, words, what):
        nonlocal refused
        refused += 1
        expect_equal(answer.error_code, INVALID, f"code of {what} ({answer.error_msg})")
        expect_words(answer.error_msg, *words)

    for bad, words in PUTS:
        answer = peer.call(put, PutMemory.Request(caller=peer.caller(), records=[record(id="beside"), bad]))
        expect_refusal(answer, ["records[1]", *words], f"a put with {words}")
    answer = peer.call(put, PutMemory.Request(caller=peer.caller(), records=[]))
    expect_refusal(answer, ["0 records", "1 to 1024"], "a put of nothing")
    answer = peer.call(put, PutMemory.Request(caller=peer.caller(), records=[record()] * 1025))
    expect_refusal(answer, ["1025 records", "1 to 1024"], "a put of too much")
    for conditions, words in QUERIES:
        expect_refusal(ask(**conditions), words, f"a query with {words}")
    answer = peer.call(get, GetMemory.Request(caller=peer.caller(), id="x" * 129))
    expect_refusal(answer, ["id has 129 bytes"], "a get of a long id")
    answer = peer.call(delete, DeleteMemory.Request(caller=peer.caller(), ids=["x"] * 1025))
    expect_refusal(answer, ["1025 ids", "1 to 1024"], "a delete of too much")
    answer = peer.call(snapshot, SnapshotMemory.Request(caller=peer.caller(), name="../../elsewhere"))
    expect_refusal(answer, ["'../../elsewhere'"], "a snapshot elsewhere")
    request = ReanchorMemory.Request(caller=peer.caller(), frame_id="map")
    request.transform.translation.x = math.nan
    expect_refusal(peer.call(reanchor, request), ["transform", "NaN"], "a move to nowhere")
    nobody = QueryMemory.Request()
    expect_refusal(peer.call(query, nobody), ["caller.id", "empty"], "a query by nobody")

    for text in SYNTAX:
        answer = ask(text=text)
        expect_equal((answer.error_code, len(answer.hits)), (NONE, 0), f"what '{text}' finds ({answer.error_msg})")
    for text in ('"CUP" robert', "^robert", "-cup"):
        expect_equal([hit.record.id for hit in ask(text=text).hits], ["good"], f"what the words of '{text}' find")
    for label in good.labels:
        expect_equal([hit.record.id for hit in ask(labels=[label]).hits], ["good"], f"what label '{label}' finds")
    expect_equal(len(ask(labels=["' OR ''='"]).hits), 0, "what a label that is syntax finds")
    expect_equal(len(ask(robot=SQL, memory_namespace=SQL).hits), 0, "what a robot and a namespace that are syntax find")

    # Nobody waits for what becomes of an observation, so it is counted twice: refused, and lost.
    for bad in (PUTS[1][0], placed(w=2.0)):
        observe.publish(bad)
        refused += 1
    peer.wait_until(lambda: stats and stats[-1].dropped == 2, "two lost observations in ~/stats")
    peer.wait_until(lambda: stats[-1].refused >= refused, "the refusals in ~/stats")
    expect_equal((stats[-1].records, stats[-1].refused), (1, refused), "records and refusals in ~/stats")
    expect("norm 2" in stats[-1].last_refusal, f"the last refusal is '{stats[-1].last_refusal}'")
    answer = peer.call(get, GetMemory.Request(caller=peer.caller(), id="good"))
    expect_equal((answer.error_code, list(answer.record.labels)), (NONE, list(good.labels)), "what was there before")


run(scenario)
