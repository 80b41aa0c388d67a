"""HTTP/1.1 GET into a caller's buffer, resumable with Range (RFC 9110 section 14).

A body is passed on piece by piece and never stored.

    size = await get("192.0.2.7", 80, "/p/1f", 0, file.write, bytearray(1024), 1_000_000)
"""

import asyncio

from aiotcp import connect, const, first, sleep_ms, ticks_diff, ticks_ms

MAX_HEADER = const(1024)  # bytes of status line and header fields; less if the buffer is smaller
MIN_RATE = const(64)  # bytes a second over the body, after one timeout
TICK_MS = const(500)  # how often the deadlines are checked


class HttpError(Exception):
    """A request failed. status: HTTP's, or 0 if the answer is missing, cut short or malformed."""

    def __init__(self, status, text):
        super().__init__(("HTTP %d: " % status if status else "") + text)
        self.status = status


async def get(host, port, path, offset, sink, buf, max_size, timeout_s=30, etag=None, ssl=None):
    """Fetches the resource at path from byte `offset` on; returns its total size in bytes.

    sink(view: memoryview) takes the bytes in order, each view valid only until it returns.
    buf: the caller's bytearray, 256 bytes or more, used for everything received.
    max_size: bytes of the largest body accepted. timeout_s: seconds for the connection, for the
    whole header, and between two pieces of the body. etag: resume only if the server's copy is
    still this one.

    To resume, call again with offset = the bytes that the sink has taken, also at the very end.
    Raises HttpError; exceptions of the sink pass through. Redirects are not followed.
    """
    if len(buf) < 256:
        raise ValueError("the buffer must hold at least 256 bytes")
    lines = ["Range: bytes=%d-" % offset] if offset else []
    if offset and etag:
        lines.append("If-Range: " + etag)
    request = head("GET", host, port, path, lines)
    return await exchange(
        host, port, buf, timeout_s, ssl, lambda way: way.run(request, offset, sink, max_size)
    )


async def exchange(host, port, buf, timeout_s, ssl, run, kind=None):
    """Opens one connection and returns the result of the coroutine function run(transfer). kind:
    Transfer or a class derived from it. Raises HttpError.
    """
    try:
        stream = await connect(host, port, int(timeout_s * 1000), ssl)
    except asyncio.TimeoutError:
        raise HttpError(0, "no connection to %s:%d within %s s" % (host, port, timeout_s))
    except OSError as error:
        raise HttpError(0, "no connection to %s:%d: %r" % (host, port, error))
    transfer = (kind or Transfer)(stream, memoryview(buf), int(timeout_s * 1000))
    try:
        return await first(run(transfer), transfer.watch())
    except OSError as error:
        if transfer.sinking:
            raise
        raise HttpError(0, "connection to %s:%d lost: %r" % (host, port, error))
    finally:
        await stream.close()


def head(method, host, port, path, fields):
    """A request's head, bytes; fields: header lines beside the usual ones. Raises ValueError."""
    for text in [host, path] + fields:
        # Bytes, not characters: MicroPython keeps each new character for good, and needs room.
        if any(byte < 32 or byte > 126 for byte in text.encode()):
            raise ValueError("host, path and etag are visible ASCII")
    if not path.startswith("/") or " " in path + host:
        raise ValueError("host and path have no space, and a path starts with /")
    name = "[%s]" % host if ":" in host else host
    lines = ["%s %s HTTP/1.1" % (method, path), "Host: %s:%d" % (name, port)]
    lines += ["Connection: close", "Accept-Encoding: identity"] + fields
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Transfer:
    """One request and its answer. sinking: inside the sink, whose exceptions pass through."""

    def __init__(self, stream, view, timeout_ms):
        self._stream = stream
        self._view = view
        self._timeout_ms = timeout_ms
        self._in_body = False
        self._taken = 0  # bytes of the body
        self.sinking = False

    async def run(self, request, offset, sink, max_size):
        status, fields, at, have = await self._ask(request)
        length, total, done = _judge(status, fields, offset, max_size)
        if done:
            return total
        if have - at > length:
            raise HttpError(status, "more bytes than announced")
        self._in_body = True
        if have > at:
            self._sink(sink, self._view[at:have])
        while self._taken < length:
            # [:n] of a view shorter than n is all of it.
            size = await self._stream.readinto(self._view[: length - self._taken])
            if not size:
                at = offset + self._taken
                raise HttpError(0, "cut short after %d of %d bytes" % (at, total))
            self._sink(sink, self._view[:size])
        return total

    async def _ask(self, request):
        """(status, fields, where the body starts, bytes received), once the header is there."""
        await self._stream.write(request)
        at, have = await self._header()
        return parse(bytes(self._view[:at])) + (at, have)

    def _sink(self, sink, view):
        self.sinking = True
        sink(view)
        self.sinking = False
        self._taken += len(view)

    async def _header(self):
        """(where the body starts, bytes received) once the empty line is there."""
        view = self._view
        limit = min(MAX_HEADER, len(view))
        have = state = 0
        while True:
            size = await self._stream.readinto(view[have:])
            if not size:
                raise HttpError(0, "cut short within the header")
            for at in range(have, have + size):
                # state counts how much of CR LF CR LF has been seen.
                byte = view[at]
                if byte == (10 if state & 1 else 13):
                    state += 1
                    if state == 4:
                        if at >= limit:
                            break
                        return at + 1, have + size
                else:
                    state = 1 if byte == 13 else 0
            have += size
            if have >= limit:
                raise HttpError(0, "a header of more than %d bytes" % limit)

    async def watch(self):
        # Added up: a difference of ticks says nothing after days, which a slow body may take.
        spent, before = 0, ticks_ms()
        body_at = None
        while True:
            await sleep_ms(TICK_MS)
            now = ticks_ms()
            spent += ticks_diff(now, before)
            before = now
            limit = self._timeout_ms
            if not self._in_body:
                if spent > limit:
                    what = "TLS handshake" if self._stream.handshake else "answer"
                    raise HttpError(0, "no %s within %d ms" % (what, limit))
                continue
            if ticks_diff(now, self._stream.received) > limit:
                raise HttpError(0, "nothing more for %d ms" % limit)
            if body_at is None:
                body_at = spent
            if spent - body_at > limit + self._taken * 1000 // MIN_RATE:
                raise HttpError(0, "slower than %d bytes a second" % MIN_RATE)


_FIELDS = (b"content-length", b"content-range", b"transfer-encoding", b"content-encoding")


def parse(head):
    """(status, fields) of a header; fields: lower-case name -> value, if in _FIELDS."""
    lines = head[:-4].split(b"\r\n")
    version, _, rest = lines[0].partition(b" ")
    status = rest.split(b" ")[0]
    if not version.startswith(b"HTTP/1.") or len(status) != 3 or not status.isdigit():
        raise HttpError(0, "not an HTTP/1 answer")
    fields = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or not name or name != name.strip():
            raise HttpError(0, "a malformed header field")
        if name in _FIELDS:
            value = value.strip()
            if fields.get(name, value) != value:
                raise HttpError(0, "two different " + str(name, "utf-8"))
            fields[name] = value
    return int(status), fields


def _judge(status, fields, offset, max_size):
    """(bytes to come, total size, whether nothing is left to fetch). Raises HttpError."""
    span = fields.get(b"content-range")
    if status == 416 and offset and span == b"bytes */%d" % offset:
        return 0, offset, True  # everything was there already
    if status not in (200, 206):
        raise HttpError(status, "unexpected status")
    coding = fields.get(b"content-encoding", b"identity")
    if b"transfer-encoding" in fields or coding != b"identity":
        raise HttpError(status, "an encoded body")
    length = number(status, fields.get(b"content-length"), "Content-Length")
    if status == 200:
        if offset:
            raise HttpError(200, "the server does not resume, or has something else now")
        total = length
    else:
        unit, _, rest = (span or b"").partition(b" ")
        ends, _, whole = rest.partition(b"/")
        first_at, _, last_at = ends.partition(b"-")
        start = number(status, first_at, "Content-Range")
        last = number(status, last_at, "Content-Range")
        total = number(status, whole, "Content-Range")
        if unit != b"bytes" or start != offset or last + 1 != total or length != total - offset:
            raise HttpError(206, "not the requested range")
    if total > max_size:
        raise HttpError(status, "%d bytes, more than the %d allowed" % (total, max_size))
    return length, total, False


def number(status, text, name):
    """The value of a header field that is a number; raises HttpError."""
    if not text or len(text) > 9 or not text.isdigit():
        raise HttpError(status, "missing or malformed " + name)
    return int(text)
