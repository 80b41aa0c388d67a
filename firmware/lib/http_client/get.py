"""HTTP/1.1 GET into a caller's buffer, resumable with Range (RFC 9110 section 14).

A body is passed on piece by piece and never stored.

    size = await get("192.0.2.7", 80, "/p/1f", 0, file.write, bytearray(1024), 1_000_000)
"""

import asyncio

from aiotcp import connect, const, first, sleep_ms, ticks_diff, ticks_ms

from http_client.header import Header, HttpError

MIN_RATE = const(64)  # bytes a second over the body, after one timeout
TICK_MS = const(500)  # how often the deadlines are checked
_REDIRECTS = const(3)
_PARTS = const(64)  # answers that one range may come in
_MOVED = (301, 302, 303, 307, 308)
_LONGEST = const(0x1FFFFFFF)  # bytes


async def get(host, port, path, offset, sink, buf, max_size, timeout_s=30, etag=None, ssl=None):
    """Fetches the resource at path from byte `offset` on; returns its total size in bytes.

    sink(view: memoryview) takes the bytes in order, each view valid only until it returns.
    buf: the caller's bytearray, 256 bytes or more, used for everything received.
    max_size: bytes of the largest body accepted. timeout_s: seconds for the connection, for the
    whole header, and between two pieces of the body. etag: resume only if the server's copy is
    still this one; a strong one.

    To resume, call again with offset = the bytes that the sink has taken, also at the very end.
    Up to 3 redirects are followed, of the same scheme. Raises HttpError; exceptions of the sink
    pass through.
    """
    if len(buf) < 256:
        raise ValueError("the buffer must hold at least 256 bytes")
    if etag and etag.startswith("W/"):  # RFC 9110 section 13.1.5
        raise ValueError("a weak etag cannot tell whether bytes are still the same")
    redirects = parts = 0
    while True:
        lines = ["Range: bytes=%d-" % offset] if offset else []
        if offset and etag:
            lines.append("If-Range: " + etag)
        request = head("GET", host, port, path, lines, ssl is not None)
        offset, total, moved = await exchange(
            host,
            port,
            buf,
            timeout_s,
            ssl,
            lambda way, ask=request, at=offset: way.run(ask, at, sink, max_size),
        )
        if moved is not None:
            redirects += 1
            if redirects > _REDIRECTS:
                raise HttpError(moved.status, "more than %d redirects" % _REDIRECTS)
            from http_client import redirect

            host, port, path = redirect.target(moved, host, port, path, ssl is not None)
            continue
        if offset == total:
            return total
        parts += 1  # a server may answer with a part of the range (RFC 9110 section 15.3.7)
        if parts >= _PARTS:
            raise HttpError(0, "the range came in more than %d parts" % _PARTS)


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
    transfer = (kind or Transfer)(stream, buf, int(timeout_s * 1000))
    try:
        return await first(run(transfer), transfer.watch())
    except OSError as error:
        if transfer.sinking:
            raise
        raise HttpError(0, "connection to %s:%d lost: %r" % (host, port, error))
    finally:
        await stream.close()


def head(method, host, port, path, fields, tls=False):
    """A request's head, bytes; fields: header lines beside the usual ones. Raises ValueError."""
    for text in [host, path] + fields:
        # Bytes, not characters: MicroPython keeps each new character for good, and needs room.
        if any(byte < 32 or byte > 126 for byte in text.encode()):
            raise ValueError("host, path and etag are visible ASCII")
    if not path.startswith("/") or " " in path + host or not host:
        raise ValueError("host and path have no space, and a path starts with /")
    name = "[%s]" % host if ":" in host else host
    if port != (443 if tls else 80):  # the usual one is left out: signed addresses cover this line
        name += ":%d" % port
    lines = ["%s %s HTTP/1.1" % (method, path), "Host: " + name]
    lines += ["Connection: close", "Accept-Encoding: identity"] + fields
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Transfer:
    """One request and its answer. sinking: inside the sink, whose exceptions pass through."""

    def __init__(self, stream, buf, timeout_ms):
        self._stream = stream
        self._buf = buf
        self._view = memoryview(buf)
        self._start = self._end = 0  # buf[start:end] was received and not yet used
        self._timeout_ms = timeout_ms
        self._in_body = False
        self._taken = 0  # bytes of the body
        self.sinking = False

    async def run(self, request, offset, sink, max_size):
        """(offset after what the sink has had, total size, None), of a redirect (offset, 0, its
        Header).
        """
        header = await self._ask(request)
        status = header.status
        if status in _MOVED and b"location" in header.fields:
            return offset, 0, header
        if status == 416 and offset:
            span = header.fields.get(b"content-range", b"")
            if span.lower().replace(b" ", b"") == b"bytes*/%d" % offset:
                return offset, offset, None  # everything was there already
        if status not in (200, 206):
            raise header.refusal()
        chunked = header.chunked()
        length, total = self._judge(header, chunked, offset)
        if total is not None and total > max_size:
            raise HttpError(status, "%d bytes, more than the %d allowed" % (total, max_size))
        self._in_body = True
        if chunked:
            from http_client import chunks

            await chunks.pour(
                self, sink, _LONGEST if length is None else length, max_size - offset
            )
        else:
            if length is not None and self._end - self._start > length:
                raise HttpError(status, "more bytes than announced")
            await self._pour(sink, length, max_size - offset)
        end = offset + self._taken
        if length is not None and self._taken != length:
            raise HttpError(0, "cut short after %d of %d bytes" % (end, total))
        return end, end if total is None else total, None

    def _judge(self, header, chunked, offset):
        """(bytes to come, total size), None where the answer does not say."""
        length = None if chunked else header.length()
        if header.status == 200:
            if offset:
                raise HttpError(200, "the server does not resume, or has something else now")
            return length, length
        start, end, total = header.span()
        if start != offset or (length is not None and length != end - start):
            raise HttpError(206, "not the requested range")
        return end - start, total

    async def _pour(self, sink, length, most):
        """The body: so many bytes, or up to the end of the connection."""
        while length is None or self._taken < length:
            if self._start == self._end and not await self.more(
                None if length is None else length - self._taken
            ):
                return
            view = self.take(_LONGEST)
            if self._taken + len(view) > most:
                raise HttpError(0, "more than the %d bytes allowed" % most)
            self.pass_on(sink, view)

    async def more(self, most=None):
        """Receives more behind what is there, at most so many bytes; how many, 0 at the end."""
        if self._start == self._end:
            self._start = self._end = 0
        end = len(self._view) if most is None else min(len(self._view), self._end + most)
        size = await self._stream.readinto(self._view[self._end : end])
        self._end += size
        return size

    def take(self, most):
        """A view of what was received, at most so many bytes, which are used then."""
        end = min(self._end, self._start + most)
        view = self._view[self._start : end]
        self._start = end
        return view

    def pass_on(self, sink, view):
        self.sinking = True
        sink(view)
        self.sinking = False
        self._taken += len(view)

    async def _ask(self, request):
        """The Header of the answer."""
        await self._stream.write(request)
        header = Header()
        done = False
        while not done:
            done = header.line(await self.line(header.long_line))
        return header

    async def line(self, too_long):
        """The next line, without its end; of one that does not fit the buffer, b"x: " and a call
        of too_long(its beginning). Raises HttpError.
        """
        buf = self._buf
        looked, cut = 0, False
        while True:
            at = buf.find(b"\n", self._start + looked, self._end)
            if at >= 0:
                line = bytes(self._view[self._start : at])
                self._start = at + 1
                if cut:
                    return b"x: "
                return line[:-1] if line[-1:] == b"\r" else line
            looked = self._end - self._start
            if looked == len(buf):
                too_long(bytes(self._view))
                cut = True
                self._start = self._end = looked = 0
            elif self._end == len(buf):
                self._view[:looked] = bytes(self._view[self._start :])
                self._start, self._end = 0, looked
            if not await self.more():
                raise HttpError(0, "cut short within the header")

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
            if body_at is None:
                body_at = spent
            if ticks_diff(now, self._stream.received) > limit:
                raise HttpError(0, "nothing more for %d ms" % limit)
            if spent - body_at > limit + self._taken * 1000 // MIN_RATE:
                raise HttpError(0, "slower than %d bytes a second" % MIN_RATE)
