"""Large pictures through a bridge: in lent memory, until somebody hears chunks that are not."""

from ecps_msgs.msg import LtpChunk, LtpLoanedChunk, LtpStats, Tensor
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image

import sensors
from peer import expect_equal, run

# Two chunks of 512 KiB that are full, and a small rest.
WIDTH, HEIGHT = 640, 560


def scenario(peer):
    lent = peer.listen(LtpLoanedChunk, "/ltp_bridge/camera/loaned_chunks")
    tensors = peer.listen(Tensor, "/ltp_bridge/camera/tensor")
    stats = peer.listen(LtpStats, "/ltp_bridge/stats")
    camera = peer.publisher(Image, "/camera")
    picture = sensors.image(peer.node.get_clock().now().to_msg(), WIDTH, HEIGHT)

    def come_through(what):
        tensors.clear()
        peer.publish_until(camera, picture, lambda: tensors, f"a tensor, {what}", 30.0)
        expect_equal(bytes(tensors[-1].data) == bytes(picture.data), True, f"that the tensor is the picture, {what}")

    come_through("lent")
    peer.wait_until(lambda: len(lent) >= 2, "two chunks in lent memory")
    read = [deserialize_message(bytes(chunk.chunk[: chunk.length]), LtpChunk) for chunk in lent[-2:]]
    expect_equal(sorted(chunk.header.chunk_index for chunk in read), [0, 1], "the lent chunks' indices")
    expect_equal(read[0].header.total_chunks, 3, "the number of chunks")

    # More than there is, and what is no chunk.
    rogue = peer.publisher(LtpLoanedChunk, "/ltp_bridge/camera/loaned_chunks")
    refused = lambda: max((stat.streams[0].refused for stat in stats if stat.streams), default=0)
    before = refused()
    for length in [2**32 - 1, len(lent[-1].chunk) + 1, 40]:
        rogue.publish(LtpLoanedChunk(length=length, chunk=lent[-1].chunk))
    peer.wait_until(lambda: refused() >= before + 3, "three refusals")

    # One that hears both, and one that hears these alone.
    copied, _ = (peer.listen(LtpChunk, "/ltp_bridge/camera/chunks") for _ in range(2))
    is_large = lambda: any(len(chunk.chunk_data) > 400_000 for chunk in copied)
    peer.publish_until(camera, picture, is_large, "a large chunk that is copied", 30.0)
    lent.clear()
    copied.clear()
    come_through("copied")
    peer.wait_until(lambda: len(copied) >= 3, "all three chunks, copied")
    expect_equal(len(lent), 0, "the number of lent chunks while somebody hears the others alone")


run(scenario)
