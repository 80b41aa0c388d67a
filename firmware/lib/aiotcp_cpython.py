"""What `aiotcp` takes from MicroPython, for CPython: ticks, sockets that answer None."""

import asyncio
import socket as tcp
import ssl as tls
from time import monotonic

_AGAIN = (BlockingIOError, tls.SSLWantReadError, tls.SSLWantWriteError)


def const(value):
    return value


def ticks_ms():
    return int(monotonic() * 1000)


def ticks_diff(later, earlier):
    return later - earlier


def sleep_ms(ms):
    return asyncio.sleep(ms / 1000)


class socket:
    """The module `socket`, whose sockets read and write like MicroPython's streams."""

    SOCK_STREAM = tcp.SOCK_STREAM
    TCP_NODELAY = tcp.TCP_NODELAY
    getaddrinfo = staticmethod(tcp.getaddrinfo)

    def socket(*kind):
        return Socket(tcp.socket(*kind))


class Socket:
    """A socket that answers None where it would have to wait."""

    def __init__(self, s):
        self.raw = s
        self.hungry = False  # TLS has to read before it can write
        for name in ("setblocking", "setsockopt", "connect", "send", "close", "fileno"):
            setattr(self, name, getattr(s, name))

    def readinto(self, buf):
        try:
            return self.raw.recv_into(buf)
        except _AGAIN:
            return None

    def write(self, data):
        self.hungry = False
        try:
            return self.raw.send(data)
        except _AGAIN as error:
            self.hungry = isinstance(error, tls.SSLWantReadError)
            return None


def secure(s, ssl, host):
    return Socket(ssl.wrap_socket(s.raw, server_hostname=host, do_handshake_on_connect=False))


async def _ready(s, add, remove):
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    getattr(loop, add)(s.fileno(), lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        getattr(loop, remove)(s.fileno())


async def readable(s):
    pending = getattr(s.raw, "pending", None)
    if not (pending and pending()):  # TLS may have read ahead
        await _ready(s, "add_reader", "remove_reader")


async def writable(s):
    if s.hungry:
        await readable(s)
    else:
        await _ready(s, "add_writer", "remove_writer")
