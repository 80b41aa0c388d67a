"""One TCP connection on asyncio, the same on MicroPython and CPython.

    stream = await connect("192.0.2.7", 80, 15_000)
    await stream.write(b"GET / HTTP/1.0\r\n\r\n")
    size = await stream.readinto(buffer)

It uses a non-blocking socket directly: asyncio's own streams copy data that the network does not
take at once, cannot read into a buffer on CPython, and cost a small device a kilobyte to import.
`first` gives a connection deadlines without a task for each read.
"""

import asyncio
from errno import EINPROGRESS

try:
    import socket
except ImportError:  # a board without a network; it may have another way, see `dial`
    socket = None

try:
    from asyncio import core, sleep_ms
    from time import ticks_diff, ticks_ms

    from micropython import const

    def readable(s):
        yield core._io_queue.queue_read(s)

    def writable(s):
        yield core._io_queue.queue_write(s)

    def secure(s, ssl, host):  # the handshake happens in the first write
        return ssl.wrap_socket(s, server_hostname=host, do_handshake_on_connect=False)

except ImportError:
    from aiotcp_cpython import const, readable, secure, sleep_ms, socket, writable
    from aiotcp_cpython import ticks_diff as ticks_diff
    from aiotcp_cpython import ticks_ms as ticks_ms

__version__ = "0.2.0"

_TLS_ERRORS = const(-256)  # numbers below are mbedtls's
_INVALID_RECORD = const(-0x7200)  # include/mbedtls/ssl.h
_CONN_EOF = const(-0x7280)
_FATAL_ALERT = const(-0x7780)
_BAD_CERTIFICATE = const(-0x7A00)
_LONGEST_MS = const(1 << 28)  # of one sleep
_PIECE = const(1024)  # bytes written before others have their turn
_KNOWN = const(4)  # names remembered
_TRIES = const(3)  # failures, one after the other, before a name is looked up again

dial = None  # function(host, port, timeout, ssl) in place of connect(): gate.link.usb
_addresses = {}  # (host, port): [failures, what getaddrinfo said...], the next to try first


class Stream:
    """A connected TCP stream.

    writing: inside write(). received, sent: when bytes last came and went, ticks_ms. They let a
    coroutine beside the one that waits notice a peer that stopped. handshake: TLS is not through
    with it; it happens in the first write, and what is wrong is raised there as an OSError.
    """

    def __init__(self, s, handshake=None):
        """handshake: the socket below, if s is one of TLS."""
        self.s = s
        self.handshake = handshake
        self.writing = False
        self.received = self.sent = ticks_ms()

    async def readinto(self, buf):
        """Fills the front of buf with what has come; returns how many bytes, 0 at the end."""
        size = None
        while size is None:  # TLS may have read a record that carried no data
            await readable(self.s)
            try:
                size = self.s.readinto(buf)
            except (OSError, ValueError) as error:
                raise self._explained(error)
        self.received = ticks_ms()
        return size

    async def write(self, data):
        """Hands all of data (bytes-like) to the system.

        Cut short by a cancellation it leaves `writing` True; the stream is only good to be closed.
        """
        self.writing = True
        self.sent = ticks_ms()
        data = memoryview(data)
        while len(data):
            try:
                size = self.s.write(data[:_PIECE])
            except (OSError, ValueError) as error:
                raise self._explained(error)
            if size:
                self.handshake = None
                data = data[size:]
                self.sent = ticks_ms()
            if len(data):
                await writable(self.s)
        self.writing = False

    async def close(self):
        """Closes at once; what the system has taken is still sent. Never raises."""
        try:
            self.s.close()
        except OSError:
            pass

    def _explained(self, error):
        """An OSError in words for what TLS on MicroPython says in numbers or as a ValueError."""
        code = error.errno if isinstance(error, OSError) else 0
        if self.handshake and code != _CONN_EOF:
            self.s = self.handshake  # TLS has let go of it without closing it
        if not isinstance(error, OSError):
            return OSError("TLS: " + ", ".join(str(error).strip().split("\n")))
        if not isinstance(code, int) or code > _TLS_ERRORS:
            return error
        if code == _INVALID_RECORD:
            return OSError("TLS: the peer does not speak it")
        if code == _CONN_EOF:
            return OSError("TLS: the peer closed the connection")
        if code == _FATAL_ALERT:
            return OSError("TLS: the peer refused, by an alert")
        if code == _BAD_CERTIFICATE:
            return OSError("TLS: the certificate is not for a server")
        return OSError("TLS: error -0x%x of mbedtls" % -code)


async def connect(host, port, timeout, ssl=None):
    """Opens a Stream to host:port. timeout: ms; ssl: an SSLContext or None; the server's
    certificate must be for `host`.

    Raises OSError when it is refused, asyncio.TimeoutError when nothing answered in time. Looking
    up a name blocks the event loop, an address in numbers does not; what was found is remembered,
    and looked up again when it failed some times.
    """
    if dial:
        return await dial(host, port, timeout, ssl)
    key = host, port
    known = _addresses.get(key)
    if not known or known[0] >= _TRIES:
        try:
            known = [0] + list(socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM))
        except OSError:
            if not known:
                raise
            known[0] = 0  # what was good once may be again
        if len(_addresses) >= _KNOWN:
            _addresses.clear()
        _addresses[key] = known
    address = known[1]
    s = socket.socket(address[0], address[1], address[2])
    try:
        s.setblocking(False)
        try:
            s.connect(address[-1])
        except OSError as error:
            if error.errno != EINPROGRESS:
                raise
        await within(timeout, writable(s))
        s.send(b"")  # raises what has become of the attempt
        known[0] = 0
        try:
            # Packets are written whole; joining them costs 40 ms. lwIP has its own number for it.
            s.setsockopt(6, getattr(socket, "TCP_NODELAY", 1), 1)
        except OSError:
            pass
        if not ssl:
            return Stream(s)
        tls = secure(s, ssl, host)
        tls.setblocking(False)
        return Stream(tls, s)
    except BaseException as error:
        s.close()
        if isinstance(error, (OSError, asyncio.TimeoutError)):
            known[0] += 1
            known.append(known.pop(1))
        raise


async def within(timeout, coro):
    """What coro returns or raises, or asyncio.TimeoutError after so many ms.

    Unlike asyncio.wait_for before CPython 3.12 it never loses a cancellation that comes late.
    """
    return await first(coro, _expire(timeout))


async def _expire(timeout):
    while timeout > 0:  # MicroPython cannot sleep for longer than 6 days
        await sleep_ms(min(timeout, _LONGEST_MS))
        timeout -= _LONGEST_MS
    raise asyncio.TimeoutError


async def first(*coros):
    """Runs all until one ends, cancels the others, returns or raises what that one did."""
    event = asyncio.Event()
    done = []
    tasks = []
    for coro in coros:
        tasks.append(asyncio.create_task(_run(coro, done, event)))
    try:
        await event.wait()
    finally:
        # Always all: MicroPython's poll queue forgets a socket when one of its tasks is cancelled.
        for task in tasks:
            task.cancel()
        for task in tasks:
            while not task.done():
                await sleep_ms(0)
    value, error = done[0]
    if error is not None:
        raise error
    return value


async def _run(coro, done, event):
    try:
        done.append((await coro, None))
    except Exception as error:
        done.append((None, error))
    event.set()
