"""The resources of a CoAP server, its requests and its replies."""

from coap.message import const, insert

_ETAG = const(4)
_FORMAT = const(12)
_MAX_AGE = const(14)


class Request:
    """The argument of a handler.

    method: 1 GET, 2 POST, 3 PUT, 4 DELETE, 5 FETCH, 6 PATCH, 7 iPATCH. path: "/a/b".
    payload: bytes-like; valid until a sync handler returns. peer: the sender's address. offset,
    more: which part of the body the payload is, with blocks=True.
    """

    def __init__(self, message, peer, path):
        self.message = message
        self.method = message.code
        self.peer = peer
        self.path = path
        self.payload = message.payload()
        self.offset = 0
        self.more = False

    def uint(self, number, default=None):
        """The value of an option that is a number: 12 is Content-Format, 17 Accept."""
        return self.message.uint(number, default)

    def values(self, number):
        """The values (bytes) of the options of that number: 1 is If-Match, 15 Uri-Query."""
        return self.message.values(number)


class Reply:
    """The return value of a handler.

    code: 205 for 2.05; None for the method's usual success. body: bytes-like or str, or with size
    a function read(offset, view) that fills the view. options: further pairs (number, bytes or
    int). etag: bytes; a body in several blocks without one gets the CRC-32 of its bytes.
    """

    def __init__(
        self, code=None, body=b"", format=None, size=None, etag=None, max_age=None, options=()
    ):
        if isinstance(body, str):
            body = body.encode()
        self.code = code
        self.body = body
        self.size = len(body) if size is None else size
        self.options = []
        for number, value in options:
            insert(self.options, number, value)
        for number, value in ((_FORMAT, format), (_ETAG, etag), (_MAX_AGE, max_age)):
            if value is not None:
                insert(self.options, number, value)
        self.format = format


class Resource:
    """A resource; Server.add makes it."""

    def __init__(self, path, handlers, links, observable, confirmable, fresh, blocks):
        self.path = path
        self.handlers = handlers
        self.links = links
        self.observable = observable
        self.confirmable = confirmable
        self.fresh = fresh
        self.blocks = blocks
