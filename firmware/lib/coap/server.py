"""A CoAP server for asyncio (RFC 7252), with blocks (RFC 7959), observe (7641) and Echo (9175).

    def temperature(request):
        return Reply(205, b"21.5", format=0)

    server = Server()
    server.add("/temperature", get=temperature, links='rt="temperature"', observable=True)
    asyncio.create_task(server.run())
    ...
    server.changed("/temperature")

A handler is called with a Request and returns a Reply, or bytes, or None for an empty success. An
async handler is answered separately: the request is acknowledged, the reply follows when it is
ready. A body longer than a block is fetched block by block: the handler of a GET is called for
each of them, and may answer with a function that reads from any offset. A body that comes in
blocks is assembled, up to max_body, or passed on as it comes (blocks=True).

Everything is bounded: messages, bodies, observers, handlers at work, and the answers stored to
answer a duplicate alike. That bound departs from the RFC: of more than 16 messages in
EXCHANGE_LIFETIME the oldest are forgotten, and answers of more than 64 bytes to GET, PUT and
DELETE are made again, which those methods allow.

A small request with a spoofed sender makes the server send a large answer to somebody else; where
that matters, answer with little, or use fresh=True (RFC 9175 section 2.4).
"""

from coap.listener import Listener
from coap.message import const, encode, insert
from coap.resource import Reply, Request, Resource  # noqa: F401

_NON = const(1)
_OBSERVE = const(6)
_BLOCK2 = const(23)
_BLOCK1 = const(27)
_NO_RESPONSE = const(258)


class Server(Listener):
    """A CoAP server on one socket.

    block: bytes of the largest block sent and accepted, 16 to 1024, a power of two; larger
    messages are refused (4.13). max_body: bytes of a body that comes in blocks. failed(request,
    error) is called with a handler's exception, for which the peer receives 5.00; without it the
    exception is printed. ack_timeout_s: seconds without an acknowledgement before the first
    retransmission.
    """

    def __init__(
        self,
        host="0.0.0.0",
        port=5683,
        block=1024,
        max_body=4096,
        failed=None,
        ack_timeout_s=2,
    ):
        super().__init__(host, port, block, failed, ack_timeout_s)
        self.max_body = max_body
        self.resources = {}
        self.below = {}

    def add(
        self,
        path,
        get=None,
        post=None,
        put=None,
        delete=None,
        links="",
        observable=False,
        confirmable=False,
        fresh=False,
        blocks=False,
        below=False,
        more=(),
    ):
        """Serves path ("/a/b"); with below also every path under it without a resource of its own.

        get, post, put, delete: handlers; more: those of FETCH, PATCH, iPATCH. links: attributes
        for /.well-known/core, such as 'rt="a b";ct=0'. observable: changed(path) notifies.
        confirmable: every notification is confirmable. fresh: accept only requests that prove with
        an Echo that they were sent just now. blocks: the handler receives bodies in parts.
        """
        handlers = (get, post, put, delete) + tuple(more)
        made = Resource(path, handlers, links, observable, confirmable, fresh, blocks)
        self.resources[path] = made
        if below:
            self.below[path.rstrip("/")] = made

    def remove(self, path):
        """Stops serving path and notifies its observers (4.04)."""
        self.below.pop(path.rstrip("/"), None)
        if self.resources.pop(path, None):
            self.changed(path)

    def changed(self, path):
        """Sends the state of the resource at path to its observers."""
        if self.observers:
            self.observers.changed(path)

    def handle(self, request, known=False):
        """The reply, or a coroutine for it, to a request; known: of an observer."""
        resource = self.resources.get(request.path)
        if not resource:
            path = request.path
            if path == "/.well-known/core":
                from coap.core import core

                return core(self.resources, request)
            while not resource and path:
                path = path[: path.rfind("/")]
                resource = self.below.get(path)
            if not resource:
                return Reply(404)
        handlers = resource.handlers
        handler = handlers[request.method - 1] if request.method <= len(handlers) else None
        if not handler:
            return Reply(405)
        if resource.fresh and not known:
            from coap.echo import challenge

            reply = challenge(request)
            if reply:
                return reply
        block1 = request.uint(_BLOCK1)
        later = request.method != 1 and request.uint(_BLOCK2, 0) >> 4
        if block1 is not None or later:
            if not self.bodies:
                from coap.assembly import Bodies

                self.bodies = Bodies()
            if block1 is None:
                return self.bodies.find(request)
            reply = self.bodies.take(request, self, resource.blocks)
            if reply:
                return reply
        try:
            return handler(request)
        except Exception as error:
            return self.excuse(request, error)

    def compose(self, request, reply, data=None, sequence=None):
        """The message that answers, a view of the server's buffer: non-confirmable, a new mid.

        None if the peer wishes no response (RFC 7967). data: the request, stored if it registers
        an observer. sequence: of a notification.
        """
        try:
            return self._compose(request, reply, data, sequence)
        except Exception as error:  # the handler's return value cannot be sent
            return self._compose(request, self.excuse(request, error), None, None)

    def _compose(self, request, reply, data, sequence):
        message = request.message
        if not isinstance(reply, Reply):
            reply = Reply(None, b"" if reply is None else reply)
        if reply.code is None:
            reply.code = (205, 204, 204, 202, 205, 204, 204)[request.method - 1]
        options = list(reply.options)
        if data and request.method == 1 and message.uint(_OBSERVE) is not None:
            sequence = self._observe(request, reply, data)
        if sequence is not None and reply.code < 400:
            insert(options, _OBSERVE, sequence)
        block1 = message.uint(_BLOCK1)
        if block1 is not None and reply.code < 400:
            insert(options, _BLOCK1, min(block1 & 7, self.szx) | block1 & ~7)
        if 1 << reply.code // 100 - 1 & message.uint(_NO_RESPONSE, 0):
            return None
        requested = message.uint(_BLOCK2)
        szx = self.szx if requested is None else min(requested & 7, self.szx)
        start = 0 if requested is None else requested >> 4 << (requested & 7) + 4
        size = min(reply.size - start, 16 << szx)
        if requested is not None and (requested & 7 == 7 or (start and size <= 0)):
            reply, options, start, size = Reply(400), [], 0, 0
        elif reply.size > size:
            from coap.assembly import prepare

            prepare(self, request, reply, options, start, szx)
        end = encode(self._out, _NON, reply.code, self.next_mid(), message.token(), options)
        view = memoryview(self._out)
        if size:
            view[end] = 0xFF
            end += 1
            if reply.body is not None and not callable(reply.body):
                view[end : end + size] = memoryview(reply.body)[start : start + size]
            else:
                reply.body(start, view[end : end + size])
        return view[: end + size]

    def _observe(self, request, reply, data):
        """Adds or removes an observer; the sequence number to answer with, or None."""
        resource = self.resources.get(request.path)
        if not resource or not resource.observable:
            return None
        if not self.observers:
            from coap.notify import Observers

            self.observers = Observers(self)
        return self.observers.register(request, reply, data)
