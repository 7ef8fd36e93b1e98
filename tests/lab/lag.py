"""A small netem in user space, for kernels without one: joins two interfaces, each frame MS later.

usage: lag.py MS LOSS% IF_A IF_B
"""
import heapq
import random
import select
import socket
import sys
import time

ETH_P_ALL = 3
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
BIGGEST = 70_000  # a segment the kernel has not cut up yet, and its header


def port(name):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    # The header says what the kernel left for later (checksum, segmentation): without it frames arrive broken.
    s.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    s.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)  # or we would forward our own frames for ever
    s.bind((name, ETH_P_ALL))
    s.setblocking(False)
    return s


def join(a, b, delay, loss):
    peer = {a: b, b: a}
    queue, n = [], 0  # (due, number, where to, frame): the number keeps frames due together in order
    while True:
        wait = max(0.0, queue[0][0] - time.monotonic()) if queue else None
        for s in select.select([a, b], [], [], wait)[0]:
            while True:
                try:
                    frame = s.recv(BIGGEST)
                except BlockingIOError:
                    break
                if random.random() >= loss:
                    n += 1
                    heapq.heappush(queue, (time.monotonic() + delay, n, peer[s], frame))
        while queue and queue[0][0] <= time.monotonic():
            _, _, s, frame = heapq.heappop(queue)
            try:
                s.send(frame)
            except OSError:
                pass  # unplugged meanwhile: the frame is lost, as on a cable


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    join(port(sys.argv[3]), port(sys.argv[4]), float(sys.argv[1]) / 1000, float(sys.argv[2]) / 100)
