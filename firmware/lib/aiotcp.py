"""One TCP connection on asyncio, the same on MicroPython and CPython.

The two differ where it hurts on a small device: only MicroPython's streams read into a caller's
buffer, only CPython's must be told not to hold bytes back. This module evens that out, and adds
`first`, with which the protocols above put deadlines on a connection without a task for each read.
"""

import asyncio
import gc
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
    from asyncio import sleep_ms
except ImportError:  # CPython

    def sleep_ms(ms):
        return asyncio.sleep(ms / 1000)


try:
    from micropython import const
except ImportError:  # CPython

    def const(value):
        return value


WRITE_PIECE = const(512)  # bytes; MicroPython's stream copies what the network does not take


class Stream:
    """A connected TCP stream.

    writing: inside write(). received, sent: when bytes last came and went, ticks_ms. They let a
    coroutine beside the one that waits notice a peer that stopped.
    """

    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer
        self._into = getattr(reader, "readinto", None)
        self._transport = getattr(writer, "transport", None)
        if self._transport:
            # A drain then means what it means on MicroPython: the bytes are with the system.
            self._transport.set_write_buffer_limits(0)
        self.writing = False
        self.received = self.sent = ticks_ms()

    async def readinto(self, view):
        """Fills the view's front with what has come; returns how many bytes, 0 at the end."""
        if self._into:
            size = None
            while size is None:  # TLS may have read a record that carried no data
                size = await self._into(view)
        else:
            data = await self._reader.read(len(view))
            size = len(data)
            view[:size] = data
        self.received = ticks_ms()
        return size

    async def fill(self, view):
        """Fills the whole memoryview; returns False if the stream ended before."""
        at = 0
        while at < len(view):
            size = await self.readinto(view[at:] if at else view)
            if not size:
                return False
            at += size
        return True

    async def write(self, data):
        """Hands all of data (bytes-like) to the system.

        Cut short by a cancellation it leaves `writing` True; the stream is only good to be closed.
        """
        self.writing = True
        self.sent = ticks_ms()
        view = memoryview(data)
        for at in range(0, len(view), WRITE_PIECE):
            self._writer.write(view[at : at + WRITE_PIECE])
            await self._writer.drain()
            self.sent = ticks_ms()
        self.writing = False

    async def close(self):
        """Closes at once; what the system has taken is still sent. Never raises."""
        try:
            if self._transport:
                self._transport.abort()
            else:
                self._writer.close()
                await self._writer.wait_closed()
        except OSError:
            pass


async def pause(ms):
    """sleep_ms to be handed around; MicroPython's own must be awaited where it is made."""
    await sleep_ms(ms)


async def connect(host, port, timeout_ms, ssl=None):
    """Opens a Stream to host:port. ssl: an SSLContext or None.

    Raises OSError when it is refused, asyncio.TimeoutError when nothing answered in time. Looking
    up a name blocks the event loop on MicroPython; an address does not.
    """
    try:
        reader, writer = await within(timeout_ms, asyncio.open_connection(host, port, ssl=ssl))
    except (OSError, asyncio.TimeoutError):
        # MicroPython leaves the half-open socket to its finaliser; a board has few sockets.
        gc.collect()
        raise
    try:
        # Packets are written whole; joining them costs 40 ms. lwIP has its own number for it.
        writer.s.setsockopt(6, getattr(socket, "TCP_NODELAY", 1), 1)
    except (AttributeError, OSError):
        pass  # CPython's asyncio has set it; TLS sockets have no options
    return Stream(reader, writer)


async def within(ms, coroutine):
    """What coroutine returns or raises, or asyncio.TimeoutError.

    Unlike asyncio.wait_for before CPython 3.12 it never loses a cancellation that comes late.
    """

    async def expire():
        await sleep_ms(ms)
        raise asyncio.TimeoutError

    return await first(coroutine, expire())


async def first(*coroutines):
    """Runs all until one ends, cancels the others, returns or raises what that one did."""
    over = asyncio.Event()
    outcome = []

    async def run(coroutine):
        try:
            result = await coroutine, None
        except Exception as error:
            result = None, error
        outcome.append(result)
        over.set()

    tasks = [asyncio.create_task(run(coroutine)) for coroutine in coroutines]
    try:
        await over.wait()
    finally:
        # Always all: MicroPython's poll queue forgets a socket when one of its tasks is cancelled.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    value, error = outcome[0]
    if error is not None:
        raise error
    return value
