#!/usr/bin/env python3
"""A link between this host and a server: so many bits a second and so much
delay, in user space, for where the kernel has no netem.

    link.py --to PORT [--rate 1e9] [--rtt 0.030]      prints its own port

What comes in waits its turn on the wire, which all connections of a direction
share, then half a round trip more, and goes out.  Before the wire there is
room for one round trip's worth of bytes: when that is full nobody reads, and
TCP holds the sender back.  A new connection's first byte takes one round trip
more, for the handshake.  There is no loss and no slow start: the figures are
of a link whose windows are open.  It ends with its standard input.
"""
import argparse
import os
import queue
import socket
import sys
import threading
import time

CHUNK = 1 << 16


class Wire:
    """One direction of the link."""
    def __init__(self, rate, rtt):
        self.second = rate / 8          # bytes
        self.rtt = rtt
        self.lock = threading.Lock()
        self.free = 0.0                 # when the wire has sent all it has

    def carry(self, n):
        """Takes n bytes when there is room; when they arrive."""
        with self.lock:
            wait = self.free - self.rtt - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            self.free = max(self.free, time.monotonic()) + n / self.second
            return self.free + self.rtt / 2


def stop(s, how):
    try:
        s.shutdown(how)
    except OSError:
        pass


def pump(wire, come, go, late):
    """From one socket over the wire to the other, until the first ends; its
    first bytes arrive so much later."""
    under_way = queue.Queue(256)

    def arrive():
        while True:
            when, data = under_way.get()
            if data is None:
                break
            wait = when - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            try:
                go.sendall(data)
            except OSError:
                stop(come, socket.SHUT_RD)
        stop(go, socket.SHUT_WR)
    t = threading.Thread(target=arrive, daemon=True)
    t.start()
    while True:
        try:
            data = come.recv(CHUNK)
        except OSError:
            data = b""
        if not data:
            break
        under_way.put((wire.carry(len(data)) + late, data))
        late = 0
    under_way.put((0, None))
    t.join()


def connect(client, port, up, down):
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        for s in (client, server):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=pump, args=(down, server, client, 0))
        back.start()
        pump(up, client, server, up.rtt)
        back.join()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--to", type=int, required=True)
    p.add_argument("--rate", type=float, default=1e9)
    p.add_argument("--rtt", type=float, default=0.030)
    o = p.parse_args()
    up, down = Wire(o.rate, o.rtt), Wire(o.rate, o.rtt)
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(listener.getsockname()[1], flush=True)

    def serve():
        while True:
            client, _ = listener.accept()
            threading.Thread(target=connect, daemon=True,
                             args=(client, o.to, up, down)).start()
    threading.Thread(target=serve, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
