"""A CoAP client for asyncio (RFC 7252), with blocks (RFC 7959), observe (7641) and Echo (9175).

    async with Client("192.0.2.7") as client:
        answer = await client.get("/sensors/temperature")
        await client.post("/log", b"started", format=0)
        answer = await client.get("/firmware", sink=file.write, max_size=1_000_000)
        watch = await client.observe("/setpoint")
        while True:
            answer = await watch.next()

A client talks to one peer over one socket, and uses two buffers of one block and some more; bodies
of any size go through a sink or come from a reader, block by block. Several tasks may make
requests; one is on its way at a time (NSTART is 1), and others may go between the blocks of a
body. Every failure is a CoapError, an error code in the answer too. A message larger than
Client(block=...) allows is the peer's mistake, and refused.
"""

from coap.block import Body, CoapError, Upload
from coap.message import const, insert
from coap.peer import OVERHEAD, Peer

_ETAG = const(4)
_PATH = const(11)
_FORMAT = const(12)
_QUERY = const(15)
_ACCEPT = const(17)
_NO_RESPONSE = const(258)
_MAX_WAIT_S = const(93)  # for an answer (RFC 7252, MAX_TRANSMIT_WAIT)


class Client(Peer):
    """A CoAP client of one peer. The socket is opened at first use; close() closes it.

    Client(host, port=5683, block=512, buffers=None, token_size=4, ack_timeout_s=2). block: largest
    block size, 16 to 1024 bytes, a power of two; buffers: (received, sent), two bytearrays of
    block + OVERHEAD bytes, allocated once if None; token_size: bytes of a request's token, 0 to 8;
    ack_timeout_s: seconds without an acknowledgement before the first retransmission. Raises
    ValueError for another block size.
    """

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.close()

    async def get(self, path, sink=None, offset=0, max_size=2048, etag=None, **more):
        """Fetches the resource at path; returns an Answer. Further arguments: see request().

        sink(view: memoryview) takes the body from byte offset on, each view valid only until it
        returns; without a sink the body is in the answer's payload. max_size: bytes of the largest
        body accepted. To resume, call again with offset = the bytes that the sink has taken, and
        etag = the error's.
        """
        return await self.request(1, path, None, None, sink, offset, max_size, etag, **more)

    async def post(self, path, payload=b"", format=None, **more):
        """POST; the arguments are request()'s."""
        return await self.request(2, path, payload, format, **more)

    async def put(self, path, payload=b"", format=None, **more):
        """PUT; the arguments are request()'s."""
        return await self.request(3, path, payload, format, **more)

    async def delete(self, path, **more):
        """DELETE; the arguments are request()'s."""
        return await self.request(4, path, **more)

    async def request(
        self,
        method,
        path,
        payload=None,
        format=None,
        sink=None,
        offset=0,
        max_size=2048,
        etag=None,
        size=None,
        query="",
        accept=None,
        options=(),
        confirmable=True,
        no_response=0,
        timeout_s=_MAX_WAIT_S,
    ):
        """Makes any request; returns an Answer. Raises CoapError, also for an error code.

        path: "/a/b". query: "a=1&b=2". payload: bytes-like, or with size (in bytes) an object with
        readinto(view); longer than a block it goes in blocks. format, accept: content format
        numbers. etag without offset: an answer with code 203 says that it is still that one.
        options: more of them, pairs (number, bytes or int). confirmable: repeated until it is
        acknowledged. no_response (RFC 7967): a sum of 2, 8 and 16 for no answers 2.xx, 4.xx, 5.xx;
        with 26 there is none, and None is returned. timeout_s: seconds for each message's answer.
        """
        fixed = _options(path, query, accept, options)
        if format is not None:
            insert(fixed, _FORMAT, format)
        if etag is not None and not offset and not sink:
            insert(fixed, _ETAG, etag)
        if no_response:
            insert(fixed, _NO_RESPONSE, no_response)
        wait = int(timeout_s * 1000)
        if size is None:
            size = len(payload or b"")
        else:
            from coap.reader import Reader

            payload = Reader(payload, size, self.szx)
        known = etag if offset or sink else None
        # Where the answer may be large, the request names the largest block size.
        early = method in (1, 5) or size > 16 << self.szx
        step = body = Body(sink, offset, max_size, known, self.szx, early)
        if size:
            step = Upload(payload, size, self.szx, body)
        try:
            while body.more:
                now, piece = step.next(fixed)
                await self.exchange(method, now, piece, step, confirmable, wait, no_response)
                if no_response and not body.answer:
                    return None
                if not step.more:
                    step = body
        except CoapError as error:
            error.etag = body.etag
            raise
        return body.answer

    async def ping(self, timeout_s=_MAX_WAIT_S):
        """Returns when the peer has answered a ping (RFC 7252 section 4.3). Raises CoapError."""
        wait = int(timeout_s * 1000)
        await self.exchange(0, (), None, None, True, wait, token=b"")

    async def observe(self, path, query="", accept=None, max_size=2048, timeout_s=_MAX_WAIT_S):
        """Observes the resource at path (RFC 7641); returns a coap.observe.Observation.

        Its next() returns an Answer for each new state, its cancel() ends it. It registers again
        by itself when the peer has been silent for longer than its answer's Max-Age. Raises
        CoapError.
        """
        from coap.observe import Observation

        wait = int(timeout_s * 1000)
        options = _options(path, query, accept, ())
        watch = Observation(self, options, max_size, wait)
        try:
            return await watch.register()
        except BaseException:
            watch.close()
            raise


async def fetch(host, port, path, offset, sink, buf, max_size, timeout_s=30, etag=None):
    """As http_client.get, over CoAP: fetches the body from byte `offset` on; returns its total
    size in bytes.

    buf: the caller's bytearray for everything received: a block of at least 16 bytes and OVERHEAD.
    Raises CoapError; exceptions of the sink pass through.
    """
    block = 1024
    while block and block + OVERHEAD > len(buf):
        block >>= 1
    buffers = buf, bytearray(4 * OVERHEAD)
    async with Client(host, port, block, buffers) as client:
        answer = await client.get(path, sink, offset, max_size, etag, timeout_s=timeout_s)
        return answer.size


def _options(path, query, accept, more):
    options = []
    for number, value in more:
        insert(options, number, value)
    if path.strip("/"):
        for part in path.split("/")[1 if path.startswith("/") else 0 :]:
            insert(options, _PATH, part.encode())
    for part in query.split("&") if query else ():
        insert(options, _QUERY, part.encode())
    if accept is not None:
        insert(options, _ACCEPT, accept)
    return options
