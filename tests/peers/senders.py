"""Two senders under one stream's name, one that starts anew, and one that never finishes: told apart, and counted."""

import array
import copy
import zlib

from diagnostic_msgs.msg import DiagnosticArray, KeyValue
from ecps_msgs.msg import LtpChunk, LtpStats, Tensor
from sensor_msgs.msg import Image

import sensors
from peer import expect, expect_equal, run

# A set that is not whole after this long is given up.
TIMEOUT = 5.0


def of(sender, chunks, content):
    """The chunks as another sender would send them, of a tensor whose bytes are all `content`."""
    whole = bytes([content]) * sum(len(chunk.chunk_data) for chunk in chunks)
    chunks, start = copy.deepcopy(chunks), 0
    for chunk in chunks:
        payload = whole[start : start + len(chunk.chunk_data)]
        start += len(payload)
        chunk.chunk_data = array.array("B", payload)
        chunk.header.checksum = list(zlib.crc32(payload).to_bytes(4, "big"))
        values = {"sender": sender, "payload_crc32": f"{zlib.crc32(whole):08x}"}
        others = [entry for entry in chunk.header.metadata if entry.key not in values]
        chunk.header.metadata = others + [KeyValue(key=key, value=value) for key, value in values.items()]
    return chunks


def scenario(peer):
    stats = peer.listen(LtpStats, "/ltp_bridge/stats")
    diagnostics = peer.listen(DiagnosticArray, "/diagnostics")
    heard = peer.listen(LtpChunk, "/ltp_bridge/camera/chunks")
    tensors = peer.listen(Tensor, "/ltp_bridge/camera/tensor")
    images = peer.publisher(Image, "/camera")
    genuine = []

    def whole():
        """Whether all chunks of a tensor were heard, and one came out."""
        numbers = {chunk.header.sequence_number for chunk in heard}
        for number in numbers:
            found = {c.header.chunk_index: c for c in heard if c.header.sequence_number == number}
            if len(found) == heard[0].header.total_chunks:
                genuine[:] = [found[index] for index in sorted(found)]
        return tensors and genuine

    peer.publish_until(images, sensors.image(sensors.at(0)), whole, "a tensor and all its chunks")
    expect(len(genuine) > 5, f"only {len(genuine)} chunks")
    link = peer.publisher(LtpChunk, "/ltp_bridge/camera/chunks")

    def arrived(content):
        return [t for t in tensors if t.data.tobytes() == bytes([content]) * len(t.data)]

    def stream():
        stats.clear()
        peer.wait_until(lambda: stats, "~/stats")
        return stats[-1].streams[0]

    expect_equal(stream().senders, 1, "senders at first")
    # Chunk by chunk, with the same number: mixed, neither would have its checksum.
    for pair in zip(of("/one@1", genuine, 1), of("/two@1", genuine, 2)):
        for chunk in pair:
            link.publish(chunk)
    peer.wait_until(lambda: arrived(1) and arrived(2), "the tensors of both senders")
    expect_equal(stream().senders, 3, "senders")
    # One starts anew, with the number that it has used already, in the midst of its last tensor.
    later = of("/one@1", genuine, 3)
    for chunk in later:
        chunk.header.sequence_number += 1
    for chunk in later[:-1] + of("/one@2", genuine, 4):
        link.publish(chunk)
    peer.wait_until(lambda: arrived(4), "a tensor of the sender that started anew", limit=TIMEOUT - 1.0)
    expect(not arrived(3), "a tensor came whole without its last chunk")
    # What was delivered comes once more: late, and no harm.
    before = stream()
    for chunk in of("/one@2", genuine, 4):
        link.publish(chunk)
    peer.wait_until(lambda: stream().chunks_late >= before.chunks_late + len(genuine), "late chunks, counted")
    expect_equal(len(arrived(4)), 1, "tensors from chunks that came twice")

    # As many chunks as there may be, of a byte each, and most of them never come.
    template = of("/endless@1", genuine, 5)[0]
    for index in range(300):
        chunk = copy.deepcopy(template)
        chunk.header.total_chunks, chunk.header.chunk_index = 65_536, index
        chunk.header.message_type = 3 if index == 0 else 1
        chunk.chunk_data = array.array("B", [5])
        chunk.header.payload_length = 1
        chunk.header.checksum = list(zlib.crc32(b"\x05").to_bytes(4, "big"))
        link.publish(chunk)
    # The one that started anew has left a part behind as well.
    peer.wait_until(lambda: stream().incomplete >= 2, "what never came whole, given up after its timeout", limit=4 * TIMEOUT)
    last = stream()
    expect_equal((last.senders, last.refused, last.incomplete), (5, 0, 2), "senders, refusals and tensors given up")

    def diagnosed():
        entries = [s for a in diagnostics[-3:] for s in a.status if s.name == "ltp_bridge: streams"]
        return [v.value for s in entries for v in s.values if v.key == "camera: senders"]

    peer.wait_until(lambda: diagnosed() and diagnosed()[-1] == "5", "five senders in the diagnostics")


run(scenario)
