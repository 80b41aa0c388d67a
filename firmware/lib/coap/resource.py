"""What a CoAP server serves, what it is asked and what it answers."""

from coap.message import const, insert

_ETAG = const(4)
_FORMAT = const(12)
_MAX_AGE = const(14)


class Request:
    """What a handler is given.

    method: 1 GET, 2 POST, 3 PUT, 4 DELETE, 5 FETCH, 6 PATCH, 7 iPATCH. path: "/a/b".
    payload: bytes-like; of a sync handler valid until it returns. peer: where it came from.
    offset, more: which part of the body the payload is, with blocks=True.
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
    """What a handler answers with.

    code: 205 for 2.05; None is what the method promises. body: bytes-like or text, or with size a
    function read(offset, view) that fills the view. options: more, pairs (number, bytes or int).
    etag: bytes; without one a body in several blocks gets one made of its bytes.
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
    """What Server.add made."""

    def __init__(self, path, handlers, links, observable, confirmable, fresh, blocks):
        self.path = path
        self.handlers = handlers
        self.links = links
        self.observable = observable
        self.confirmable = confirmable
        self.fresh = fresh
        self.blocks = blocks
