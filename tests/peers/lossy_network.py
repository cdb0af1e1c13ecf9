"""Publishes scans at one end of a network, or waits for them at the other: complete and in order.

Arguments: publish or listen."""

import sys

from builtin_interfaces.msg import Time
from sensor_msgs.msg import LaserScan

import sensors
from peer import expect_equal, run

SCANS = 100


def publish(peer):
    scans = peer.publisher(LaserScan, "/scan")
    for i in range(SCANS):
        scans.publish(sensors.scan(Time(sec=1_700_000_000 + i)))
        again = peer.now().nanoseconds + 50_000_000
        peer.wait_until(lambda: peer.now().nanoseconds > again, "time")
    # The bridge may still take the last ones in.
    end = peer.now().nanoseconds + 2_000_000_000
    peer.wait_until(lambda: peer.now().nanoseconds > end, "time")


def listen(peer):
    arrived = peer.listen(LaserScan, "/b/ltp_bridge/scan/original")
    peer.wait_until(lambda: len(arrived) >= SCANS, f"{SCANS} scans", limit=80.0)
    expect_equal([scan.header.stamp.sec - 1_700_000_000 for scan in arrived], list(range(SCANS)), "order of the scans")


run({"publish": publish, "listen": listen}[sys.argv[1]])
