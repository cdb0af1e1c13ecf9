"""Publishes one message of each sensor type, and gets each back as tensor and as original, byte for byte."""

from ecps_msgs.msg import LtpAck, LtpChunk, LtpFrame, LtpStats, MemoryRecord, Tensor
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image, LaserScan, PointCloud2
from std_msgs.msg import Float32MultiArray

import sensors
from peer import expect, expect_equal, run

UINT, FLOAT = 1, 2
BYTES = (UINT, 8)
DOUBLE = (FLOAT, 64)


def same(a, b):
    """Equal in every bit of every field; NaN would equal nothing."""
    if hasattr(a, "get_fields_and_field_types"):
        return all(same(getattr(a, field), getattr(b, field)) for field in a.get_fields_and_field_types())
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a.tobytes() == b.tobytes() if hasattr(a, "tobytes") else a == b


def scenario(peer):
    memories = peer.listen(MemoryRecord, "/mep_server/observe")
    stats = peer.listen(LtpStats, "/ltp_bridge/stats")
    chunks = peer.listen(LtpChunk, "/ltp_bridge/camera/chunks")
    acks = peer.listen(LtpAck, "/ltp_bridge/camera/acks")
    frames = peer.listen(LtpFrame, "/ltp_bridge/scan/frames")

    def goes_through(name, message, content, dtype, shape, effect=lambda: True):
        tensors = peer.listen(Tensor, f"/ltp_bridge/{name}/tensor")
        originals = peer.listen(type(message), f"/ltp_bridge/{name}/original")
        publisher = peer.publisher(type(message), f"/{name}")
        peer.publish_until(publisher, message, lambda: tensors and originals and effect(), f"tensor and original of {name}")
        tensor = tensors[-1]
        if content is not None:
            expect(tensor.data.tobytes() == content, f"the tensor of {name} has other bytes than the message")
        expect_equal((tensor.dtype_code, tensor.dtype_bits, tensor.dtype_lanes), (*dtype, 1), f"dtype of {name}")
        expect_equal(list(tensor.shape), shape or [len(tensor.data)], f"shape of {name}")
        expect_equal((tensor.name, len(tensor.strides), tensor.byte_offset), (name, 0, 0), f"layout of {name}")
        if hasattr(message, "header") and shape:
            expect_equal(tensor.header, message.header, f"header of {name}")
        sent = deserialize_message(serialize_message(message), type(message))
        expect(same(originals[-1], sent), f"the original of {name} is not what was sent")
        peer.node.destroy_publisher(publisher)

    scan = sensors.scan(sensors.at(0))
    goes_through("scan", scan, scan.ranges.tobytes() + scan.intensities.tobytes(), (FLOAT, 32), [2, 360], lambda: memories)
    cloud = sensors.cloud(sensors.at(1))
    goes_through("cloud", cloud, cloud.data.tobytes(), (UINT, 8), [1, 500, 12])
    numbers = sensors.numbers()
    goes_through("numbers", numbers, numbers.data.tobytes(), (FLOAT, 32), [4, 6])
    photo = sensors.photo(sensors.at(3))
    goes_through("photo", photo, photo.data.tobytes(), BYTES, [5000])
    goes_through("imu", sensors.imu(sensors.at(4)), None, DOUBLE, [37])
    joints = sensors.joints(sensors.at(5))
    goes_through("joints", joints, joints.position.tobytes() + joints.effort.tobytes(), DOUBLE, [2, 50])
    # A type that has no tensor of its own: the bytes that lie in DDS, and the message as it was.
    goes_through("odometry", sensors.odometry(sensors.at(6)), None, BYTES, [])
    expect_equal(len(chunks), 0, "chunks before the large image")
    expect(len(frames) > 0, "the scan came without a frame")
    # 6 MB that do not compress cannot travel whole.
    image = sensors.image(sensors.at(2), 1920, 1080)
    goes_through("camera", image, image.data.tobytes(), (UINT, 8), [1080, 1920, 3])
    peer.wait_until(lambda: any(ack.success for ack in acks), "the acknowledgement of the chunks")
    needed = 6_220_800 // 65_536
    peer.wait_until(lambda: len(chunks) >= needed, f"the {needed} chunks or more of the image")
    largest = max(len(serialize_message(chunk)) for chunk in chunks)
    expect(largest <= 65_536 + 256, f"a chunk has {largest} bytes")

    # The scan's place descriptor went to whoever listens where memories are kept.
    expect_equal(memories[0].header, scan.header, "header of the memory")
    expect(memories[0].model_id and len(memories[0].embedding) > 0, "the memory has no embedding")
    peer.wait_until(lambda: stats and all(s.tensors_received > 0 for s in stats[-1].streams), "all streams in ~/stats")
    for stream in stats[-1].streams:
        expect_equal((stream.tensors_lost, stream.loss, stream.senders), (0, 0.0, 1), f"loss and senders of {stream.name}")
        expect(stream.bytes_received > 0 and stream.ratio > 0.0, f"no bytes of {stream.name}")
        expect_equal((stream.latency_ms_budget, stream.jitter_ms_budget), (100.0, 10.0), f"budget of {stream.name}")
        expect_equal((stream.refused, stream.last_refusal), (0, ""), f"refusals of {stream.name}")


run(scenario)
