"""Publishes scans until as many as the argument says have come out of /b's bridge, the first ones among them, in order."""

import sys

from builtin_interfaces.msg import Time
from sensor_msgs.msg import LaserScan

import sensors
from peer import expect, run


def scenario(peer):
    wanted = int(sys.argv[1])
    arrived = peer.listen(LaserScan, "/b/ltp_bridge/scan/original")
    scans = peer.publisher(LaserScan, "/scan")
    output = lambda: peer.node.get_publishers_info_by_topic("/b/ltp_bridge/scan/original")
    peer.wait_until(output, "the output")
    start = peer.now().nanoseconds // 1_000_000_000
    for number in range(1000):
        scans.publish(sensors.scan(Time(sec=start, nanosec=number)))
        end = peer.now().nanoseconds + 100_000_000
        while len(arrived) < wanted and peer.now().nanoseconds < end:
            peer.spin()
        if len(arrived) >= wanted:
            break
    expect(len(arrived) >= wanted, f"only {len(arrived)} of {wanted} scans came")
    stamps = [(scan.header.stamp.sec, scan.header.stamp.nanosec) for scan in arrived]
    expect(stamps == sorted(set(stamps)), f"out of order or twice: {stamps}")
    expect(stamps[0][1] < 15, f"the first {stamps[0][1]} scans are missing")


run(scenario)
