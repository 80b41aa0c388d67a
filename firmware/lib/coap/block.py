"""Bodies in blocks, the client's side (RFC 7959): received in answers, sent in requests."""

from coap.message import const, insert

_ETAG = const(4)
_BLOCK2 = const(23)
_BLOCK1 = const(27)
_SIZE2 = const(28)
_SIZE1 = const(60)
_ECHO = const(252)
_MAX_AGE = const(14)
_MAX_BLOCKS = const(1 << 20)


class CoapError(Exception):
    """A request failed. reason: one word for programs; the text is for people.

    timeout: no answer in time. reset: the peer rejected the message. refused: the answer is an
    error (`code`: 404 for 4.04 and so on). changed: the body has changed since the first block.
    size: larger than allowed, or than the buffers. protocol: the peer broke CoAP. ended: the peer
    dropped the observation. closed: the client was closed. etag: of the body that was being
    fetched, bytes or None, to resume with. echo: the option that the peer requires in the next
    request (RFC 9175), if it refused this one although it carried one. retry_after: seconds that a
    busy peer (5.03) asks to wait, 0 if it does not say.
    """

    def __init__(self, reason, text, code=None):
        super().__init__(reason + ": " + text)
        self.reason = reason
        self.code = code
        self.etag = None
        self.echo = None
        self.retry_after = 0


class Answer:
    """An answer. code: 205 for 2.05; payload: the body, bytes, empty if a sink took it; size: of
    the body, bytes; etag: bytes or None; format: content format number or None; options: of the
    first message, pairs (number, bytes), where 8 is Location-Path and 20 Location-Query.
    """

    def __init__(self, message):
        self.code = message.code
        self.payload = b""
        self.size = 0
        self.format = message.uint(12)
        self.options = message.values()
        etags = message.values(_ETAG)
        self.etag = etags[0] if etags else None

    def __repr__(self):
        return "Answer(%d, %r)" % (self.code, self.payload)


class Body:
    """Receives the body of an answer, message by message, and passes it to a sink in order.

    more: whether there are more blocks. etag: of the body, once it is known.
    """

    def __init__(self, sink, offset, max_size, etag, szx, early):
        self.answer = None
        self.more = True
        self._at = offset  # bytes the sink has had, or skipped
        self._payload = None if sink else bytearray()
        self._sink = sink or self._payload.extend
        self._max_size = max_size
        self.etag = etag
        self._szx = szx  # block size 2 ** (szx + 4), largest that there is room for
        self._early = early and szx < 6  # says in the first request how large a block may be
        # Where the next block begins. At the very end of a body it is the last block with a byte.
        self._next = offset - 1 if offset else 0

    def next(self, options):
        """(options, payload) of the next request: with Block2, if it is not simply the first."""
        number = self._next >> self._szx + 4
        if number >= _MAX_BLOCKS:
            raise CoapError("size", "an offset beyond what blocks of this size reach")
        self._next = number << self._szx + 4
        options = list(options)
        if number or self._early:
            insert(options, _BLOCK2, number << 4 | self._szx)
        return options, None

    def take(self, message):
        """Receives one answer. Raises CoapError; exceptions of the sink pass through."""
        code = message.code
        first = self.answer is None
        if code == 408 and first and self._next:
            self._next = 0  # some peers begin only at the beginning; the sink skips what it has
            return
        if code >= 300:
            text = bytes(message.payload()[:64])  # a diagnostic, for people (RFC 7252, 5.5.2)
            error = CoapError("refused", "%d.%02d %r" % (code // 100, code % 100, text), code)
            echo = message.values(_ECHO)
            error.echo = echo[0] if echo else None
            if code == 503:
                error.retry_after = message.uint(_MAX_AGE, 0)
            raise error
        if first:
            self.answer = Answer(message)
        elif code != self.answer.code:
            raise CoapError("protocol", "another code within a body")
        size = message.size - message.payload_at
        start = 0
        block = message.uint(_BLOCK2)
        if block is not None:
            szx = block & 7
            start = block >> 4 << szx + 4
            whole = 16 << szx
            if szx > self._szx or (size != whole if block & 8 else size > whole):
                raise CoapError("protocol", "a block of another size")
            self._szx = szx
        if start != self._next:
            raise CoapError("changed", "not the requested part of the body")
        self.more = block is not None and bool(block & 8)
        etags = message.values(_ETAG)
        etag = etags[0] if etags else None
        if self.etag is None and first:
            self.etag = etag
        elif self.etag != etag and (etag or first) and code != 203:
            raise CoapError("changed", "the body has changed")
        end = start + size
        if end < self._at and not self.more:
            raise CoapError("changed", "the body is shorter than the offset")
        if end + self.more > self._max_size or message.uint(_SIZE2, 0) > self._max_size:
            raise CoapError("size", "more than the %d bytes allowed" % self._max_size)
        if end > self._at:
            self._sink(message.payload()[self._at - start :])
            self._at = end
        self._next = end
        if not self.more:
            self.answer.size = end
            if self._payload is not None:
                self.answer.payload = bytes(self._payload)


class Upload:
    """Sends the body of a request in blocks (section 2.3), from bytes or a coap.reader.Reader.

    The answer to the last block goes to body, a Body.
    """

    def __init__(self, source, size, szx, body):
        self.more = True
        self._source = source
        self._size = size
        self._szx = szx
        self._body = body
        self._at = 0  # bytes that the peer has
        self._sent = 0  # bytes of the block that was sent last

    def next(self, options):
        """(options, payload) of the next request."""
        limit = 16 << self._szx
        at = self._at
        if hasattr(self._source, "piece"):
            piece = self._source.piece(at, limit)
        else:
            piece = memoryview(self._source)[at : at + limit]
        self._sent = len(piece)
        more = at + self._sent < self._size
        if not more:
            options, _ = self._body.next(options)
        if more or at:
            if at >> self._szx + 4 >= _MAX_BLOCKS:
                raise CoapError("size", "a body beyond what blocks of this size reach")
            options = list(options)
            insert(options, _BLOCK1, at >> self._szx + 4 << 4 | more << 3 | self._szx)
            if not at:
                insert(options, _SIZE1, self._size)
        return options, piece

    def take(self, message):
        """Receives the answer to one block; raises CoapError."""
        block = message.uint(_BLOCK1)
        szx = self._szx if block is None else min(block & 7, self._szx)
        if message.code == 413 and szx < self._szx and not self._at:
            self._szx = szx  # once more, in smaller blocks (section 2.9.3)
            return
        if message.code < 300:
            if block is not None and block >> 4 != self._at >> self._szx + 4:
                raise CoapError("protocol", "an answer to another block")
            self._at += self._sent
            self._szx = szx
            self.more = self._at < self._size
            if self.more:
                return
        self._body.take(message)
