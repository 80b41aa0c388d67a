"""A body in chunks (RFC 9112 section 7.1), as caches and proxies may make it of any other."""

from http_client.header import Header, HttpError


async def pour(way, sink, length, most):
    """Passes the chunks' bytes on, `length` at most, of which more than `most` are refused. way:
    get.Transfer.
    """
    total = 0
    while True:
        size = _size(await way.line(_too_long))
        if not size:
            break
        total += size
        if total > most or total > length:
            raise HttpError(0, "more bytes than allowed or announced")
        while size:
            view = way.take(size)
            if not len(view):
                if not await way.more():
                    raise HttpError(0, "cut short within a chunk")
                continue
            size -= len(view)
            way.pass_on(sink, view)
        if await way.line(_too_long):
            raise HttpError(0, "a malformed chunk")
    trailer = Header()  # bounded, and of no interest
    trailer.status = 200
    while not trailer.line(await way.line(trailer.long_line)):
        pass


def _size(line):
    text = line.split(b";")[0].strip()
    try:
        if not text or len(text) > 8 or text[:1] in (b"+", b"-") or b"_" in text:
            raise ValueError
        return int(text, 16)
    except ValueError:
        raise HttpError(0, "a malformed chunk")


def _too_long(_):
    raise HttpError(0, "a malformed chunk")
