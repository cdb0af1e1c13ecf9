"""A VGA camera at 30 frames a second, for as many seconds as the argument says. Prints how many tensors came."""

import sys

from ecps_msgs.msg import Tensor
from sensor_msgs.msg import Image

import sensors
from peer import expect, run


def scenario(peer):
    seconds = int(sys.argv[1])
    tensors = peer.listen(Tensor, "/ltp_bridge/camera/tensor")
    images = peer.publisher(Image, "/camera")
    image = sensors.image(sensors.at(0), 640, 480)
    start, count = peer.now().nanoseconds, 0
    for number in range(30 * seconds):
        image.header.stamp.sec = number
        images.publish(image)
        # What came is counted and not kept.
        peer.wait_until(lambda: peer.now().nanoseconds >= start + (number + 1) * 1_000_000_000 // 30, "the next frame")
        count += len(tensors)
        tensors.clear()
    expect(count > 10 * seconds, f"{count} tensors came of {30 * seconds} frames")
    print(count)


run(scenario)
