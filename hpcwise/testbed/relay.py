"""A slow cable: carries every frame between two interfaces, a fixed time late. Run as a program of its own.

    python -I relay.py INTERFACE INTERFACE MILLISECONDS

It returns when it carries frames, and goes on in the background until it is killed. Many kernels (also of
sandboxes) come without netem, which would do the same. Frames keep the header that says what the sender's
kernel left to the hardware (checksum, segmentation), so that large ones pass whole.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections import deque

_EVERYTHING = 0x0003
_SOL_PACKET, _VNET_HEADER, _IGNORE_OUTGOING = 263, 15, 23
_LARGEST = 1 << 17
#: Frames under way; more are lost, as on a real link with a full queue.
_QUEUE = 20_000


def main() -> None:
    """Open both interfaces, go to the background, carry frames."""
    first, second = (_open(name) for name in sys.argv[1:3])
    delay_s = float(sys.argv[3]) / 1000
    if os.fork():
        # What the interpreter would do at exit is the child's.
        os._exit(0)
    os.setsid()
    carry(first, second, delay_s)


def carry(first: socket.socket, second: socket.socket, delay_s: float) -> None:
    """Never returns."""
    waiting: deque[tuple[float, socket.socket, bytes]] = deque()
    other = {first.fileno(): (first, second), second.fileno(): (second, first)}
    poll = select.poll()
    for number in other:
        poll.register(number, select.POLLIN)
    while True:
        wait_s = waiting[0][0] - time.monotonic() if waiting else None
        for number, _ in poll.poll(None if wait_s is None else max(0.0, wait_s * 1000)):
            source, target = other[number]
            try:
                frame = source.recv(_LARGEST)
            except OSError:
                continue  # the interface is down: a cut cable
            if len(waiting) < _QUEUE:
                waiting.append((time.monotonic() + delay_s, target, frame))
        while waiting and waiting[0][0] <= time.monotonic():
            _, target, frame = waiting.popleft()
            try:
                target.send(frame)
            except OSError:
                continue  # down, or its queue is full: the frame is lost


def _open(name: str) -> socket.socket:
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    found.setsockopt(_SOL_PACKET, _VNET_HEADER, 1)
    found.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
    found.bind((name, _EVERYTHING))
    return found


if __name__ == "__main__":
    main()
