"""The board's half of bench/tls.py: handshakes and bulk data, counted in instructions and bytes of memory.

While instructions are counted, a board that sleeps finds hours gone: nothing here waits but by looking again and again,
and only the calls into TLS are counted, not the waiting between them.
"""

import gc
import select
import socket
import ssl
import time
from errno import EINPROGRESS

import mps2
import network

_HOST = "10.0.2.2"
_NAME = "gate.example"


def up():
    lan = network.LAN()
    lan.active(True)
    while not lan.isconnected():
        pass


def context(ca, *pair):
    """(context, bytes of heap it takes, bytes of TLS's own memory)."""
    heap, own = used()
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(ca)
    if pair:
        made.load_cert_chain(*pair)
    heap_after, own_after = used()
    return made, heap_after - heap, own_after - own


def used():
    """(heap in use, TLS's own memory in use), bytes."""
    gc.collect()
    return gc.mem_alloc(), mps2.tls_memory()[1]


def connect(port):
    s = socket.socket()
    s.setblocking(False)
    try:
        s.connect((_HOST, port))
    except OSError as error:
        if error.errno != EINPROGRESS:
            raise
    wait(s, select.POLLOUT)
    return s


def wait(s, what):
    poller = select.poll()
    poller.register(s, what)
    while not poller.poll(0):
        pass


class Connection:
    """A connection that counts what TLS does for it. instructions: of the handshake; peak: of TLS's own memory."""

    def __init__(self, made, port):
        self.raw = connect(port)
        self.heap, self.own = used()
        self._ticks = 0
        self.tls = made.wrap_socket(self.raw, server_hostname=_NAME, do_handshake_on_connect=False)
        self.tls.setblocking(False)
        self.write(b"?")
        self.instructions = self.counted()
        self.peak = mps2.tls_memory()[2]
        heap, own = used()
        self.heap, self.own = heap - self.heap, own - self.own

    def counted(self):
        """Instructions since this was last asked."""
        ticks, self._ticks = self._ticks, 0
        return ticks * 1000 // 32  # -icount shift=5: an instruction is 32 ns of the board's time

    def write(self, data):
        while True:
            start = time.ticks_us()
            done = self.tls.write(data)
            self._ticks += time.ticks_diff(time.ticks_us(), start)
            if done:
                return
            wait(self.raw, select.POLLIN | select.POLLOUT if done == 0 else select.POLLIN)

    def read(self, buf):
        while True:
            start = time.ticks_us()
            done = self.tls.readinto(buf)
            self._ticks += time.ticks_diff(time.ticks_us(), start)
            if done is not None:
                return done
            wait(self.raw, select.POLLIN)

    def close(self):
        self.tls.close()


def handshake(made, port):
    """(instructions, peak of TLS's own memory, that memory at rest, heap at rest)."""
    connection = Connection(made, port)
    connection.close()
    return connection.instructions, connection.peak, connection.own, connection.heap


def bulk(made, port, size):
    """(instructions a byte in, instructions a byte out): the peer sends and takes `size` bytes."""
    connection = Connection(made, port)
    buf = bytearray(1024)
    left = size
    while left:
        left -= connection.read(memoryview(buf)[: min(left, 1024)])
    inwards = connection.counted() / size
    for _ in range(size // 1024):
        connection.write(buf)
    outwards = connection.counted() / size
    connection.close()
    return inwards, outwards


def both(made, port):
    """Peak of TLS's own memory when a second connection is made while one is open."""
    first = Connection(made, port)
    second = Connection(made, port)
    first.close()
    second.close()
    return second.peak
