"""Two network namespaces and the wire between them, which loses, doubles and delays frames, from a seed.

Arguments: names of the namespaces. Ends, and takes the namespaces away, when its standard input closes or it is
terminated. Says SKIPPED where that is not permitted."""

import fcntl
import heapq
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import time

LOSS, DUPLICATES, DELAY, JITTER = 0.05, 0.05, 0.002, 0.010
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000


def sh(*words):
    subprocess.run(words, check=True, capture_output=True)


def tap_of_this_namespace(fd_of_socket):
    """Opens a tap where it runs, and hands it to the other end of the socket."""
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH", b"wire", IFF_TAP | IFF_NO_PI))
    socket.send_fds(socket.socket(fileno=fd_of_socket), [b"x"], [tap])


def tap(namespace, address):
    subprocess.run(["ip", "netns", "del", namespace], capture_output=True)  # of a run that was killed
    sh("ip", "netns", "add", namespace)
    ours, theirs = socket.socketpair()
    words = ["ip", "netns", "exec", namespace, sys.executable, __file__, "--tap", str(theirs.fileno())]
    subprocess.run(words, check=True, pass_fds=[theirs.fileno()])
    (fd,) = socket.recv_fds(ours, 1, 1)[1]
    for words in [
        ["link", "set", "lo", "up"],
        ["addr", "add", f"{address}/24", "dev", "wire"],
        ["link", "set", "wire", "up"],
        ["route", "add", "224.0.0.0/4", "dev", "wire"],
    ]:
        sh("ip", "-n", namespace, *words)
    return fd


def carry(taps):
    dice, under_way, number = random.Random(23), [], 0
    while True:
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, _, to, frame = heapq.heappop(under_way)
            os.write(to, frame)
        wait = max(0.0, under_way[0][0] - now) if under_way else None
        readable, _, _ = select.select([*taps, sys.stdin], [], [], wait)
        if sys.stdin in readable and not os.read(sys.stdin.fileno(), 1):
            return
        for fd in set(readable) & set(taps):
            frame, to = os.read(fd, 65_536), taps[fd]
            if dice.random() < LOSS:
                continue
            for _ in range(2 if dice.random() < DUPLICATES else 1):
                number += 1
                heapq.heappush(under_way, (time.monotonic() + DELAY + dice.random() * JITTER, number, to, frame))


def main(names):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    try:
        try:
            one, other = (tap(name, f"10.77.0.{i + 1}") for i, name in enumerate(names))
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"SKIPPED: network namespaces are not permitted here: {error}", flush=True)
            return
        print("ether is up", flush=True)
        carry({one: other, other: one})
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


if sys.argv[1] == "--tap":
    tap_of_this_namespace(int(sys.argv[2]))
else:
    main(sys.argv[1:3])
