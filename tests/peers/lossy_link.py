"""Stands between two bridges as a bad link, from a seed, and checks that a reliable stream survives it."""

import random

from builtin_interfaces.msg import Time
from ecps_msgs.msg import LtpAck, LtpChunk, LtpFrame, LtpStats
from sensor_msgs.msg import LaserScan

import sensors
from peer import RELIABLE, expect, expect_equal, run

SCANS = 150
LOSS, DUPLICATES = 0.1, 0.05
FROM, TO = "/a/ltp_bridge/scan", "/relay/scan"


class Relay:
    """One direction of one topic. What is held back goes after what came later."""

    def __init__(self, peer, dice, message_type, source, target):
        self.dice, self.held, self.lost = dice, [], 0
        self.publisher = peer.node.create_publisher(message_type, target, RELIABLE)
        peer.node.create_subscription(message_type, source, self.take, RELIABLE, raw=True)
        peer.node.create_timer(0.02, self.release)

    def take(self, message):
        if self.dice.random() < LOSS:
            self.lost += 1
            return
        copies = 2 if self.dice.random() < DUPLICATES else 1
        for _ in range(copies):
            if self.dice.random() < 0.3:
                self.held.append(message)
            else:
                self.publisher.publish(message)

    def release(self):
        held, self.held = self.held, []
        self.dice.shuffle(held)
        for message in held:
            self.publisher.publish(message)


def scenario(peer):
    dice = random.Random(17)
    relays = [Relay(peer, dice, kind, f"{FROM}/{name}", f"{TO}/{name}") for kind, name in [(LtpFrame, "frames"), (LtpChunk, "chunks")]]
    relays.append(Relay(peer, dice, LtpAck, f"{TO}/acks", f"{FROM}/acks"))
    arrived = peer.listen(LaserScan, "/b/ltp_bridge/scan/original")
    stats = peer.listen(LtpStats, "/a/ltp_bridge/stats")
    received = peer.listen(LtpStats, "/b/ltp_bridge/stats")
    scans = peer.publisher(LaserScan, "/scan")
    peer.wait_until(lambda: all(relay.publisher.get_subscription_count() > 0 for relay in relays), "both bridges at the relay")
    peer.wait_until(lambda: len(peer.node.get_publishers_info_by_topic("/b/ltp_bridge/scan/original")) > 0, "the output")
    peer.wait_until(lambda: stats and received, "~/stats")

    stamps = [Time(sec=1_700_000_000 + i, nanosec=i) for i in range(SCANS)]
    for i, stamp in enumerate(stamps):
        scans.publish(sensors.scan(stamp))
        # Not faster than the stream's window allows, as a scanner would not be.
        peer.wait_until(lambda: len(arrived) > i - 30, f"scan {i - 30} of {SCANS}", limit=30.0)
        peer.spin()
    peer.wait_until(lambda: len(arrived) >= SCANS, f"all {SCANS} scans, and only {len(arrived)} came", limit=30.0)
    expect_equal([scan.header.stamp for scan in arrived], stamps, "order of the scans")
    expect(all(scan.header.frame_id == "robot1/laser" for scan in arrived), "a frame was lost")
    lost = [relay.lost for relay in relays]
    expect(sum(lost) > 20, f"the link lost only {lost}")
    stats.clear()
    received.clear()
    peer.wait_until(lambda: stats and received, "~/stats")
    sent, got = stats[-1].streams[0], received[-1].streams[0]
    expect_equal(sent.mode, "reliable", "mode")
    expect(sent.chunks_resent > 0 and got.chunks_duplicate + got.chunks_late > 0, "nothing was sent again")
    expect(sent.keys_sent > 3 and sent.deltas_sent > 100, f"{sent.keys_sent} keys and {sent.deltas_sent} deltas")
    expect_equal((got.tensors_received, got.tensors_lost, got.refused), (SCANS, 0, 0), "received, lost and refused")


run(scenario)
