"""Bodies in blocks, the server's side (RFC 7959): assembles requests, cuts replies."""

from binascii import crc32

from coap.message import const, insert
from coap.resource import Reply
from coap.udp import ticks_diff, ticks_ms

_MAX_BODIES = const(2)  # that are being assembled; as many replies that are being fetched
_LIFETIME_MS = const(93000)  # without a further block
_ETAG = const(4)
_BLOCK2 = const(23)
_BLOCK1 = const(27)
_SIZE2 = const(28)
_SIZE1 = const(60)
_REQUEST_TAG = const(292)


class Bodies:
    """Bodies of requests being assembled, and of replies that cannot be made twice."""

    def __init__(self):
        self._requests = []  # [key, bytes so far or None, next offset, when]
        self._replies = []  # [key, Reply, 0, when]

    def take(self, request, server, pass_on):
        """Adds a block; returns the Reply to it, or None once the request has its whole body.

        pass_on: the handler receives each block as it comes, and limits the size itself.
        """
        block1 = request.uint(_BLOCK1)
        more = bool(block1 & 8)
        size = 16 << (block1 & 7)
        start = (block1 >> 4) * size
        got = len(request.payload)
        if block1 & 7 == 7 or (got != size if more else got > size):
            return Reply(400)
        key = _key(request)
        entry = _find(self._requests, key)
        if start == 0:
            if entry:
                self._requests.remove(entry)
            entry = [key, None if pass_on else bytearray(), 0, 0]
            _add(self._requests, entry)
        elif not entry or start > entry[2] or start + got < entry[2]:
            return Reply(408)
        repeated = start < entry[2]  # with another message id: only the answer was lost
        if not pass_on:
            if start + got > server.max_body or request.uint(_SIZE1, 0) > server.max_body:
                self._requests.remove(entry)
                return Reply(413, options=((_SIZE1, server.max_body),))
            if not repeated:
                entry[1].extend(request.payload)
        entry[2] = start + got
        entry[3] = ticks_ms()
        if not more:
            self._requests.remove(entry)
        if repeated and more:
            return Reply(231)
        request.offset = start
        request.more = more
        if pass_on:
            return None
        if more:
            return Reply(231)
        request.offset = 0
        request.payload = entry[1]
        return None

    def purge(self):
        """Forgets what is too old. To be called every few days at least: ticks wrap around."""
        self._requests = [entry for entry in self._requests if _is_recent(entry)]
        self._replies = [entry for entry in self._replies if _is_recent(entry)]

    def store(self, request, reply):
        """Stores the Reply to a request whose further blocks the peer will fetch."""
        entry = _find(self._replies, _key(request))
        if entry:
            self._replies.remove(entry)
        _add(self._replies, [_key(request), reply, 0, ticks_ms()])

    def find(self, request):
        """The Reply that was stored for this request, else 4.08."""
        entry = _find(self._replies, _key(request))
        return entry[1] if entry else Reply(408)


def prepare(server, request, reply, options, start, szx):
    """Adds the options that a block of a body needs."""
    insert(options, _BLOCK2, start >> szx + 4 << 4 | (start + (16 << szx) < reply.size) << 3 | szx)
    if not start:
        insert(options, _SIZE2, reply.size)
    if not callable(reply.body) and not any(number == _ETAG for number, _ in options):
        insert(options, _ETAG, crc32(reply.body).to_bytes(4, "big"))
    if request.method != 1 and not start:
        if not server.bodies:
            server.bodies = Bodies()
        server.bodies.store(request, reply)


def _key(request):
    return request.peer, request.method, request.path, request.values(_REQUEST_TAG)


def _find(entries, key):
    for entry in entries:
        if entry[0] == key:
            return entry if _is_recent(entry) else None
    return None


def _is_recent(entry):
    return 0 <= ticks_diff(ticks_ms(), entry[3]) < _LIFETIME_MS


def _add(entries, entry):
    """Adds an entry, in place of the oldest if there are too many."""
    if len(entries) >= _MAX_BODIES:
        entries.pop(0)
    entry[3] = ticks_ms()
    entries.append(entry)
