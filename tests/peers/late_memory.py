"""Shows the bridge one place before and after a memory is there, and looks what became of it."""

from ecps_msgs.msg import LtpStats, MemoryStats, Tensor
from nav_msgs.msg import Odometry
from sensor_msgs.msg import LaserScan

import sensors
from peer import expect_equal, run


def scenario(peer):
    bridge = peer.listen(LtpStats, "/ltp_bridge/stats")
    memory = peer.listen(MemoryStats, "/mep_server/stats")
    tensors = peer.listen(Tensor, "/ltp_bridge/scan/tensor")
    scans = peer.publisher(LaserScan, "/scan")
    odometry = peer.publisher(Odometry, "/odom")

    # One moment, so that a pose that has arrived once is the pose of every scan.
    stamp = sensors.at(0)
    scan, standing = sensors.scan(stamp), sensors.stamped(Odometry(), "odom", stamp)
    standing.pose.pose.orientation.w = 1.0

    def look(count):
        """How many memories the bridge has published when so many scans more have come through it."""
        for _ in range(count):
            odometry.publish(standing)
            known = len(tensors)
            peer.publish_until(scans, scan, lambda: len(tensors) > known, "a tensor")
        bridge.clear()
        peer.wait_until(lambda: bridge, "the bridge's statistics")
        return bridge[-1].streams[0].memories

    expect_equal(look(5), 0, "memories published to nobody")
    print("seen", flush=True)
    peer.wait_until(lambda: memory, "the memory", limit=30.0)
    peer.wait_until(lambda: look(1) == 1 and memory[-1].records == 1, "the place in the memory")
    expect_equal(look(3), 1, "memories of a robot that stands")
    memory.clear()
    peer.wait_until(lambda: memory, "the memory's statistics")
    expect_equal(memory[-1].records, 1, "records of a robot that stands")


run(scenario)
