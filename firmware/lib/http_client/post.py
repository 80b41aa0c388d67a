"""A small HTTP/1.1 POST that reads the whole answer, whatever its status; see http_client.get."""

from http_client.get import HttpError, Transfer, exchange, head


async def post(host, port, path, kind, body, buf, timeout_s=30, ssl=None):
    """Posts body (bytes) of the media type `kind`; returns (status, answer: memoryview in buf).

    buf: the caller's bytearray for the answer, and for each line of its header. timeout_s: seconds
    for the connection, the answer's header, and between two pieces of the answer. Raises
    HttpError. Redirects are not followed.
    """
    fields = ["Content-Type: " + kind, "Content-Length: %d" % len(body)]
    request = head("POST", host, port, path, fields, ssl is not None) + body
    return await exchange(host, port, buf, timeout_s, ssl, lambda way: way.whole(request), _Post)


class _Post(Transfer):
    async def whole(self, request):
        header = await self._ask(request)
        status = header.status
        if b"transfer-encoding" in header.fields:
            raise HttpError(status, "an encoded body")
        length = header.length()
        if length is None:
            raise HttpError(status, "missing or malformed Content-Length")
        have = self._end - self._start
        if length > len(self._view) or have > length:
            raise HttpError(status, "an answer of %d bytes is too long" % max(have, length))
        self._view[:have] = bytes(self._view[self._start : self._end])
        self._start, self._end = 0, have
        while self._end < length:
            if not await self.more(length - self._end):
                raise HttpError(0, "the answer is cut short")
        return status, self._view[:length]
