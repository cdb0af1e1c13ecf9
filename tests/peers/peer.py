"""What the peers share: a node to talk through, and waiting for things with a limit."""

import itertools
import sys
import time

import rclpy
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile

from ecps_msgs.msg import Caller

# Within which a thing happens, on a busy machine.
SOON = 15.0
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
RELIABLE = QoSProfile(depth=1000)


class Failure(Exception):
    """What did not hold, in one line."""


def expect(holds, message):
    if not holds:
        raise Failure(message)


def expect_equal(found, expected, what):
    if found != expected:
        raise Failure(f"{what} is {str(found)[:300]}, and should be {str(expected)[:300]}")


def expect_words(text, *words):
    """Refusals are one line that names the value and the limit."""
    missing = [word for word in words if word not in text]
    expect(not missing and "\n" not in text, f"'{text}' does not name {missing} in one line")


class Peer:
    def __init__(self, name="peer"):
        self.node = rclpy.create_node(name)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.sequences = itertools.count(1)

    def spin(self):
        self.executor.spin_once(timeout_sec=0.02)

    def wait_until(self, condition, what, limit=SOON):
        end = time.monotonic() + limit
        while not condition():
            expect(time.monotonic() < end, f"after {limit} s still not: {what}")
            self.spin()

    def listen(self, message_type, topic, qos=RELIABLE):
        """The list that messages of a topic gather in."""
        messages = []
        self.node.create_subscription(message_type, topic, messages.append, qos)
        return messages

    def publisher(self, message_type, topic, qos=RELIABLE):
        """A publisher that somebody listens to already."""
        publisher = self.node.create_publisher(message_type, topic, qos)
        self.wait_until(lambda: publisher.get_subscription_count() > 0, f"a subscriber of {topic}")
        return publisher

    def publish_until(self, publisher, message, condition, what, limit=SOON):
        """Repeats a message until it has had its effect: the way back may be matched later than the way there."""
        end = time.monotonic() + limit
        while not condition():
            expect(time.monotonic() < end, f"after {limit} s still not: {what}")
            publisher.publish(message)
            again = time.monotonic() + 1.0
            while not condition() and time.monotonic() < again:
                self.spin()

    def client(self, service_type, name):
        client = self.node.create_client(service_type, name)
        self.wait_until(client.service_is_ready, f"service {name}")
        return client

    def call(self, client, request, limit=SOON):
        """Asks, and asks again, since services lose requests and answers in silence."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            future = client.call_async(request)
            again = time.monotonic() + 2.0
            while time.monotonic() < again:
                if future.done():
                    return future.result()
                self.spin()
        raise Failure(f"{client.srv_name} did not answer within {limit} s")

    def now(self):
        return self.node.get_clock().now()

    def caller(self, age=0.0, lifetime=0.0):
        return Caller(
            id="/peer",
            sequence=next(self.sequences),
            stamp=(self.now() - Duration(seconds=age)).to_msg(),
            lifetime=Duration(seconds=lifetime).to_msg(),
        )


def run(scenario):
    """Runs `scenario(peer)`; a failure is one line on standard error and exit code 1."""
    rclpy.init()
    peer = Peer()
    try:
        scenario(peer)
    except Failure as failure:
        sys.exit(f"FAILED: {failure}")
    finally:
        peer.node.destroy_node()
        rclpy.try_shutdown()
