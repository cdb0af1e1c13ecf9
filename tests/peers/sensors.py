"""Sensor messages of every type that a stream can have."""

import array
import random
import struct

from builtin_interfaces.msg import Time
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CompressedImage, Image, Imu, JointState, LaserScan, PointCloud2, PointField
from std_msgs.msg import Float32MultiArray, MultiArrayDimension


def stamped(message, frame, stamp):
    message.header.frame_id = frame
    message.header.stamp = stamp
    return message


def scan(stamp):
    """A room as a laser sees it, with rays that came back from nowhere (inf) and that failed (NaN)."""
    ranges = [2.0 + (i % 90) / 30.0 for i in range(360)]
    ranges[10], ranges[20], ranges[200] = float("inf"), float("nan"), float("-inf")
    return stamped(
        LaserScan(
            angle_min=-3.14159,
            angle_max=3.12414,
            angle_increment=0.0174533,
            time_increment=1e-4,
            scan_time=0.1,
            range_min=0.05,
            range_max=12.0,
            ranges=ranges,
            intensities=[float(i) / 7.0 for i in range(360)],
        ),
        "robot1/laser",
        stamp,
    )


def image(stamp, width=64, height=48, seed=1):
    """Noise, which does not compress."""
    data = array.array("B", random.Random(seed).randbytes(width * height * 3))
    message = Image(width=width, height=height, encoding="rgb8", step=width * 3)
    message.data = data
    return stamped(message, "robot1/camera", stamp)


def cloud(stamp):
    fields = [PointField(name=n, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, n in enumerate("xyz")]
    points = b"".join(struct.pack("<fff", i / 3.0, -i / 7.0, float("nan") if i == 5 else 1.0) for i in range(500))
    message = PointCloud2(height=1, width=500, fields=fields, point_step=12, row_step=6000, is_dense=False)
    message.data = array.array("B", points)
    return stamped(message, "robot1/depth", stamp)


def numbers():
    message = Float32MultiArray(data=[i / 3.0 for i in range(24)])
    for label, size, stride in [("rows", 4, 24), ("columns of it", 6, 6)]:
        message.layout.dim.append(MultiArrayDimension(label=label, size=size, stride=stride))
    return message


def photo(stamp):
    message = CompressedImage(format="rgb8; jpeg compressed bgr8")
    message.data = array.array("B", random.Random(2).randbytes(5000))
    return stamped(message, "robot1/camera", stamp)


def imu(stamp):
    message = Imu(orientation_covariance=[-1.0] + [0.0] * 8)
    message.orientation.w, message.angular_velocity.z, message.linear_acceleration.z = 0.6, 0.1, 9.81
    return stamped(message, "robot1/imu", stamp)


def joints(stamp):
    names = [f"joint {i}" for i in range(50)]
    message = JointState(name=names, position=[i / 7.0 for i in range(50)], effort=[float("nan")] * 50)
    return stamped(message, "", stamp)


def odometry(stamp):
    message = Odometry(child_frame_id="base")
    message.pose.pose.position.x = 1.5
    return stamped(message, "odom", stamp)


def at(seconds):
    return Time(sec=1_700_000_000 + seconds, nanosec=123_456_789)
