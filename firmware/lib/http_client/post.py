"""A small HTTP/1.1 POST that reads the whole answer, whatever its status; see http_client.get."""

from http_client.get import HttpError, Transfer, exchange, head, number


async def post(host, port, path, kind, body, buf, timeout_s=30, ssl=None):
    """Posts body (bytes) of the media type `kind`; returns (status, answer: memoryview in buf).

    buf: the caller's bytearray for the header and the body of the answer together. timeout_s:
    seconds for the connection, the answer's header, and between two pieces of the answer. Raises
    HttpError. Redirects are not followed.
    """
    fields = ["Content-Type: " + kind, "Content-Length: %d" % len(body)]
    request = head("POST", host, port, path, fields) + body
    return await exchange(host, port, buf, timeout_s, ssl, lambda way: way.whole(request), _Post)


class _Post(Transfer):
    async def whole(self, request):
        status, fields, at, have = await self._ask(request)
        if b"transfer-encoding" in fields:
            raise HttpError(status, "an encoded body")
        end = at + number(status, fields.get(b"content-length"), "Content-Length")
        if end > len(self._view) or have > end:
            raise HttpError(status, "an answer of %d bytes is too long" % (max(have, end) - at))
        while have < end:
            size = await self._stream.readinto(self._view[have:end])
            if not size:
                raise HttpError(0, "the answer is cut short")
            have += size
        return status, self._view[at:end]
