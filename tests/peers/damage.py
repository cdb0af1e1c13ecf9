"""Publishes frames and chunks that are truncated, oversized and mutated: refused, counted, and no harm done."""

import array
import copy
import random
import zlib

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from ecps_msgs.msg import LtpChunk, LtpFrame, LtpStats, Tensor
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, LaserScan

import sensors
from peer import expect, expect_words, run

# A newer tensor than all that the bridge sends, so that nothing is merely late.
SEQUENCE = 1000


def sealed(message, payload):
    """The message with another payload, whose length and checksum agree."""
    message.header.payload_length = len(payload)
    message.header.checksum = list(zlib.crc32(payload).to_bytes(4, "big"))
    if isinstance(message, LtpFrame):
        message.tensor_zstd = array.array("B", payload)
    else:
        message.chunk_data = array.array("B", payload)


def payload(message):
    return bytes(message.tensor_zstd if isinstance(message, LtpFrame) else message.chunk_data)


def flipped(message):
    field = "tensor_zstd" if isinstance(message, LtpFrame) else "chunk_data"
    data = getattr(message, field)
    data[len(data) // 2] ^= 1


def entries(count, length=8):
    return [KeyValue(key=f"{i:0{length}}", value="x") for i in range(count)]


def metadata(chunk, key, value):
    """The chunk's metadata with another value, or without the key."""
    kept = [entry for entry in chunk.header.metadata if entry.key != key]
    chunk.header.metadata = kept if value is None else [*kept, KeyValue(key=key, value=value)]


def fields(message, **values):
    """Sets fields, `header_<name>` in the header."""
    for name, value in values.items():
        if name.startswith("header_"):
            setattr(message.header, name.removeprefix("header_"), value)
        else:
            setattr(message, name, value)


# Ways to damage a frame, and what the refusal names. The last of each list is the one that is read.
FRAMES = {
    "truncated": [
        (lambda m: fields(m, tensor_zstd=m.tensor_zstd[:-1]), ["payload has", "header says"]),
        (lambda m: fields(m, tensor_zstd=[]), ["payload has 0 bytes"]),
        (lambda m: fields(m, header_checksum=m.header.checksum[:3]), ["checksum has 3 bytes", "must have 4"]),
        (lambda m: sealed(m, payload(m)[: len(payload(m)) // 2]), ["zstd refused", "2880 bytes"]),
    ],
    "oversized": [
        (lambda m: sealed(m, bytes(1_048_577)), ["tensor_zstd", "1048577", "1048576"]),
        (lambda m: fields(m, shape=[1] * 17), ["17", "16"]),
        (lambda m: fields(m, attributes=entries(65)), ["attributes", "65", "64"]),
        (lambda m: fields(m, header_metadata=entries(1, 1025)), ["metadata", "1025", "1024"]),
        (lambda m: fields(m, frame_id="x" * 257), ["frame_id", "257", "256"]),
        (lambda m: fields(m, shape=[65_535, 65_535], original_size=4 * 65_535**2), ["268435456"]),
        (lambda m: (fields(m, shape=[1 << 27], original_size=1 << 29), sealed(m, bytes(16_384))), ["268435456"]),
        (lambda m: fields(m, shape=[(1 << 32) - 1] * 16, original_size=(1 << 64) - 1), ["268435456"]),
        # A bomb: it says 64 MiB, and a few bytes cannot become that.
        (lambda m: fields(m, shape=[1 << 24], original_size=1 << 26), ["cannot become", "67108864"]),
        # Another: what it says is possible, and less than it holds.
        (lambda m: fields(m, shape=[100], original_size=400), ["zstd refused", "400 bytes"]),
    ],
    "mutated": [
        (flipped, ["CRC-32", "damaged"]),
        (lambda m: fields(m, spec="ltp/1.0"), ["ltp/1.0", "ltp/0.9"]),
        (lambda m: fields(m, spec="eap/0.1"), ["eap/0.1", "ltp/0.9"]),
        (lambda m: fields(m, header_version=2), ["version is 2"]),
        (lambda m: fields(m, header_message_type=9), ["type is 9"]),
        (lambda m: fields(m, dtype="f128"), ["f128"]),
        (lambda m: fields(m, compression_level=23), ["23", "1 to 22"]),
        (lambda m: fields(m, timestamp_ns=(1 << 64) - 1), ["later than ROS time"]),
        (lambda m: fields(m, original_size=2881), ["2881", "2880"]),
    ],
}

CHUNKS = {
    "truncated": [
        (lambda m: fields(m, chunk_data=m.chunk_data[:-1]), ["payload has", "header says"]),
        (lambda m: fields(m, header_metadata=[]), []),
        (lambda m: metadata(m, "shape", None), ["shape"]),
        (lambda m: fields(m, chunk_data=[]), ["0 bytes", "1 to 1048576"]),
    ],
    "oversized": [
        (lambda m: sealed(m, bytes(1_048_577)), ["chunk_data", "1048577", "1048576"]),
        (lambda m: fields(m, header_total_chunks=65_537), ["65537", "65536"]),
        (lambda m: metadata(m, "shape", "65535,65535,3"), ["268435456"]),
        (lambda m: fields(m, header_chunk_index=m.header.total_chunks), ["index"]),
    ],
    "mutated": [
        (flipped, ["CRC-32"]),
        (lambda m: fields(m, is_final=not m.is_final), ["is_final"]),
        (lambda m: fields(m, header_message_type=2), ["type is 2"]),
        (lambda m: metadata(m, "shape", "forty,two"), ["shape"]),
        (lambda m: fields(m, header_total_chunks=0), ["0 chunks", "1 to 65536"]),
    ],
}


def scenario(peer):
    stats = peer.listen(LtpStats, "/ltp_bridge/stats")
    diagnostics = peer.listen(DiagnosticArray, "/diagnostics")
    frames = peer.listen(LtpFrame, "/ltp_bridge/scan/frames")
    chunks = peer.listen(LtpChunk, "/ltp_bridge/camera/chunks")
    scans = peer.publisher(LaserScan, "/scan")
    images = peer.publisher(Image, "/camera")
    peer.publish_until(scans, sensors.scan(sensors.at(0)), lambda: frames, "a frame")
    peer.publish_until(images, sensors.image(sensors.at(0)), lambda: chunks, "a chunk")

    def stream(name):
        return next(s for s in stats[-1].streams if s.name == name)

    def diagnosed(name):
        """The streams' entry in the diagnostics, and how many refusals it counts for one of them."""
        entries = [s for array in diagnostics[-3:] for s in array.status if s.name == "ltp_bridge: streams"]
        counts = [int(v.value) for v in entries[-1].values if v.key.startswith(f"{name}: refused, ")] if entries else []
        return entries[-1] if entries else None, sum(counts)

    def refuses(link, name, genuine, kinds):
        for kind, ways in kinds.items():
            stats.clear()
            peer.wait_until(lambda: stats, "~/stats")
            before = stream(name).refused
            for index, (damage, _) in enumerate(ways):
                message = copy.deepcopy(genuine)
                message.header.sequence_number = SEQUENCE + index
                damage(message)
                link.publish(message)
            expected = before + len(ways)
            peer.wait_until(
                lambda: stream(name).refused >= expected,
                f"{len(ways)} {kind} {name} messages refused, only {stream(name).refused - before} were",
            )
            expect(stream(name).refused == expected, f"{stream(name).refused - before} {kind} messages refused")
            expect_words(stream(name).last_refusal, *ways[-1][1])
            peer.wait_until(lambda: diagnosed(name)[1] == expected, f"{expected} refusals of {name} in the diagnostics")
            entry = diagnosed(name)[0]
            expect(entry.level == DiagnosticStatus.WARN, f"the diagnostics warn of no refusal, but say '{entry.message}'")
            if name == "scan":  # which is told first
                expect_words(entry.message, *ways[-1][1])

    frame_link = peer.publisher(LtpFrame, "/ltp_bridge/scan/frames")
    chunk_link = peer.publisher(LtpChunk, "/ltp_bridge/camera/chunks")
    refuses(frame_link, "scan", copy.deepcopy(frames[0]), FRAMES)
    refuses(chunk_link, "camera", copy.deepcopy(chunks[0]), CHUNKS)

    # Damaged below our own checks: the serialized bytes themselves.
    dice = random.Random(7)
    for link, genuine in [(frame_link, frames[0]), (chunk_link, chunks[0])]:
        whole = serialize_message(genuine)
        for _ in range(100):
            data = bytearray(whole[: dice.randrange(4, len(whole))] if dice.random() < 0.5 else whole)
            for _ in range(dice.randrange(8)):
                data[dice.randrange(4, len(data))] ^= 1 << dice.randrange(8)
            link.publish(bytes(data))
            peer.spin()

    # And it works as before; the numbers that the damaged messages took may make it wait for newer ones.
    tensors = {name: peer.listen(Tensor, f"/ltp_bridge/{name}/tensor") for name in ["scan", "camera"]}
    for second, (name, link, make) in enumerate(
        [("scan", scans, sensors.scan), ("camera", images, sensors.image)], start=50
    ):
        stamp = sensors.at(second)
        arrived = lambda: any(t.header.stamp == stamp for t in tensors[name])
        peer.publish_until(link, make(stamp), arrived, f"a tensor of {name} after all the damage", limit=20.0)


run(scenario)
