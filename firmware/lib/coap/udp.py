"""UDP sockets for asyncio, the same on MicroPython and CPython: waiting, receiving, the clock.

Sending never waits: a datagram that the system does not take is lost, and the protocol above
retransmits.
"""

import asyncio
import socket

try:
    from time import ticks_diff, ticks_ms
except ImportError:  # CPython
    from time import monotonic

    def ticks_ms():
        return int(monotonic() * 1000)

    def ticks_diff(later, earlier):
        return later - earlier


try:
    from asyncio import core, sleep_ms

    def readable(sock):
        """Awaits a datagram."""
        yield core._io_queue.queue_read(sock)

except ImportError:  # CPython

    def sleep_ms(ms):
        return asyncio.sleep(ms / 1000)

    async def readable(sock):
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        loop.add_reader(sock, lambda: ready.done() or ready.set_result(None))
        try:
            await ready
        finally:
            loop.remove_reader(sock)


if hasattr(socket.socket, "recv_into"):  # CPython

    def receive(sock, buf):
        """Receives one datagram into buf, cut to its length; returns its size. Raises OSError."""
        return sock.recv_into(buf)

elif socket.__name__ == "lwip":

    def receive(sock, buf):
        # lwIP keeps one datagram, so that readinto finds no second one to add.
        return sock.readinto(buf) or 0

else:

    def receive(sock, buf):
        data = sock.recv(len(buf))  # readinto would add datagram to datagram
        buf[: len(data)] = data
        return len(data)


def open_socket(host, port, bind=False):
    """A socket connected to host:port, or bound to it; raises OSError.

    A connected one takes datagrams of that peer only. A name blocks the event loop on MicroPython
    while it is looked up; an address does not.
    """
    found = socket.getaddrinfo(host, port)[0]
    sock = socket.socket(found[0], socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if bind:
            sock.bind(found[-1])
        else:
            sock.connect(found[-1])
    except OSError:
        sock.close()
        raise
    return sock


def send(sock, view, peer=None):
    """Sends a datagram, without a peer on a connected socket. Never raises: it may be lost."""
    try:
        if peer is None:
            sock.send(view)
        else:
            sock.sendto(view, peer)
    except OSError:
        pass
