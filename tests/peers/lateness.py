"""Makes one stage late on purpose: `ltp`, `eap` or `mep_put <database>`. Its row of the budgets must raise an event."""

import sqlite3
import sys
import time

from ecps_msgs.msg import BudgetEvent, MemoryRecord
from ecps_msgs.srv import PutMemory
from geometry_msgs.msg import TwistStamped
from rclpy.duration import Duration
from sensor_msgs.msg import Image

import sensors
from peer import expect, expect_equal, run


def raises(peer, events, cause, kind, at_least_ms, max_latency_ms, max_jitter_ms):
    """Repeats `cause` until it has raised an event that measured it, with the limits of its row."""

    def late():
        return [e for e in events if e.kind == kind and e.latency_ms >= at_least_ms]

    for _ in range(10):
        cause()
        end = time.monotonic() + 2.0
        while not late() and time.monotonic() < end:
            peer.spin()
        if late():
            break
    seen = [(e.kind, e.latency_ms) for e in events]
    expect(late(), f"no {kind} event of at least {at_least_ms} ms came, only {seen}")
    event = late()[0]
    expect_equal((event.max_latency_ms, event.max_jitter_ms), (max_latency_ms, max_jitter_ms), f"limits of {kind}")
    expect_equal(event.profile, "standard", "profile")
    expect(event.count >= 1 and event.latency_ms < 60_000, f"the event says {event}")


def ltp(peer):
    events = peer.listen(BudgetEvent, "/ltp_bridge/budget_events")
    images = peer.publisher(Image, "/camera")
    # Level 22 of zstd takes its time over what does not compress.
    image = sensors.image(sensors.at(0), 1280, 720)
    raises(peer, events, lambda: images.publish(image), "LTP", 100.0, 100.0, 10.0)


def eap(peer):
    events = peer.listen(BudgetEvent, "/eap_executor/budget_events")
    commands = peer.publisher(TwistStamped, "/cmd_vel_in")

    def command():
        message = TwistStamped()
        message.header.stamp = (peer.now() - Duration(seconds=0.06)).to_msg()
        message.twist.linear.x = 0.1
        commands.publish(message)

    raises(peer, events, command, "EAP", 60.0, 20.0, 2.0)


def mep_put(peer, database):
    events = peer.listen(BudgetEvent, "/mep_server/budget_events")
    put = peer.client(PutMemory, "/mep_server/put")
    other = sqlite3.connect(database, isolation_level=None)

    def put_while_locked():
        other.execute("BEGIN IMMEDIATE")
        record = MemoryRecord(model_id="m", embedding=[1.0])
        answer = put.call_async(PutMemory.Request(caller=peer.caller(), records=[record]))
        # Another program holds the file's write lock for this long.
        end = time.monotonic() + 0.4
        while time.monotonic() < end:
            peer.spin()
        expect(not answer.done(), "a put was answered while nothing could be written")
        other.execute("ROLLBACK")
        peer.wait_until(answer.done, "the answer to a put that waited")
        expect_equal(answer.result().error_code, 0, "code of a put that waited")

    raises(peer, events, put_while_locked, "MEP_PUT", 300.0, 200.0, 50.0)


stage, *arguments = sys.argv[1:]
run(lambda peer: {"ltp": ltp, "eap": eap, "mep_put": mep_put}[stage](peer, *arguments))
