"""The message layer of a CoAP server: one socket, many peers (RFC 7252 section 4)."""

import asyncio
from os import urandom
from sys import modules

from coap.exchange import Outbox, Recent
from coap.message import Message, const, encode
from coap.resource import Reply, Request
from coap.udp import open_socket, readable, send, sleep_ms

_OVERHEAD = const(128)  # bytes of a message beside its block
_RECENT = const(16)  # messages remembered to recognise duplicates
_STORED = const(64)  # bytes of the largest answer stored to a request that may be handled again
_MAX_TASKS = const(4)  # async handlers under way
_MAX_WAITING = const(12)  # own messages not acknowledged, before no async handler is begun
_TICK_MS = const(200)
_PURGE_TICKS = const(300)
_SECRET_TICKS = const(432000)  # a day

_CON = const(0)
_NON = const(1)
_ACK = const(2)
_RST = const(3)
_IGNORED = const(1)  # as in coap.message
_MALFORMED = const(2)
_PATH = const(11)
_BLOCK1 = const(27)
_ACKED = const(0)  # as in coap.exchange
_RESET = const(1)


class Listener:
    """The base of coap.server.Server, which adds handle() and compose()."""

    def __init__(self, host, port, block, failed, ack_timeout_s):
        self.szx = 0
        while 16 << self.szx < block:
            self.szx += 1
        if block != 16 << self.szx or self.szx > 6:
            raise ValueError("a block size is 16, 32, 64 ... or 1024, not %r" % block)
        self._where = host, port
        self._failed = failed
        self._ack_timeout = ack_timeout_s
        self._sock = None
        self.outbox = None
        self.bodies = None  # of coap.assembly, once there is one
        self.observers = None  # of coap.notify, once there is one
        self._out = bytearray(block + _OVERHEAD)
        self._short = bytearray(4)
        self._message = Message()
        self._recent = Recent(_RECENT)
        self._mid = urandom(1)[0] << 8 | urandom(1)[0]
        self._tasks = []
        self._faults = 0

    async def run(self):
        """Serves until it is cancelled. Raises OSError if the address cannot be bound."""
        sock = self._sock = open_socket(self._where[0], self._where[1], True)
        self.outbox = Outbox(sock, self._ack_timeout)
        clock = asyncio.create_task(self._clock())
        limit = len(self._out) + 1
        try:
            while True:
                await readable(sock)
                try:
                    data, peer = sock.recvfrom(limit)
                except OSError:
                    await sleep_ms(_TICK_MS)  # what an earlier datagram met; none came
                else:
                    try:
                        self._received(data, peer)
                    except Exception as error:  # one datagram must not end the server
                        self._say("a datagram from %r" % (peer,), error)
        finally:
            clock.cancel()
            for task in self._tasks:
                task.cancel()
            sock.close()

    async def _clock(self):
        ticks = 0
        while True:
            await sleep_ms(_TICK_MS)
            self.outbox.tick()
            ticks += 1
            if ticks % _PURGE_TICKS == 0:
                self._recent.purge()
                if self.bodies:
                    self.bodies.purge()
            if ticks >= _SECRET_TICKS:  # an Echo of 12 days ago would look fresh
                ticks = 0
                if "coap.echo" in modules:
                    modules["coap.echo"].renew()

    def next_mid(self):
        self._mid = self._mid + 1 & 0xFFFF
        return self._mid

    def _acknowledge(self, kind, mid, peer):
        encode(self._short, kind, 0, mid, b"", ())
        send(self._sock, self._short, peer)

    def _received(self, data, peer):
        message = self._message
        verdict = message.decode(data, len(data))
        if verdict == _IGNORED:
            return
        kind = message.kind
        mid = message.mid
        if kind >= _ACK:
            if verdict != _MALFORMED and not message.code:
                ended = self.outbox.end(_ACKED if kind == _ACK else _RESET, mid, peer)
                if kind == _RST and self.observers and not ended:
                    self.observers.reset(mid, peer)
            return
        if verdict == _MALFORMED or not 0 < message.code < 32:
            if kind == _CON:  # a ping too (RFC 7252 section 4.3)
                self._acknowledge(_RST, mid, peer)
            return
        entry = self._recent.find(mid, peer)
        if entry and kind == _NON:
            return
        if entry and entry[3] is not False:
            if entry[3] is None:
                self._acknowledge(_ACK, mid, peer)
            else:
                send(self._sock, entry[3], peer)
            return
        self._request(message, data, peer, entry or self._recent.add(mid, None, peer))

    def _request(self, message, data, peer, entry):
        """Answers a request that was not answered before."""
        request = Request(message, peer, _path(message))
        if len(data) > len(self._out):
            reply = Reply(413, options=((_BLOCK1, self.szx),))  # cut; smaller blocks would fit
        elif message.refused:
            if message.kind == _NON:
                return  # section 5.4.1
            reply = Reply(505 if message.refused in (35, 39) else 402)
        else:
            reply = self.handle(request)
            if hasattr(reply, "send"):  # a coroutine
                if len(self._tasks) < _MAX_TASKS and len(self.outbox.waiting) < _MAX_WAITING:
                    request.message = Message()
                    request.message.decode(data, len(data))
                    if message.kind == _CON:
                        self._acknowledge(_ACK, message.mid, peer)
                    self._tasks.append(asyncio.create_task(self._later(request, reply)))
                    return
                reply.close()
                reply = Reply(503, max_age=10)
        view = self.compose(request, reply, data=data)
        kind = message.kind
        if not view:
            if kind == _CON:
                self._acknowledge(_ACK, message.mid, peer)
            return
        if kind == _CON:
            view[0] = view[0] & 0xCF | _ACK << 4
            view[2] = message.mid >> 8
            view[3] = message.mid & 255
            again = message.code not in (2, 6) and len(view) > _STORED
            entry[3] = False if again else bytes(view)
        send(self._sock, view, peer)

    async def _later(self, request, reply):
        """Answers with what a coroutine returns (section 5.2.2)."""
        try:
            try:
                reply = await reply
            except Exception as error:
                reply = self.excuse(request, error)
            view = self.compose(request, reply)
            if view:
                self.post(view, request.peer, request.message.kind == _CON, None)
        finally:
            self._tasks.remove(asyncio.current_task())

    def post(self, view, peer, confirmable, owner):
        """Sends a message that compose() made; owner.ended() is called when it ends."""
        if confirmable:
            view[0] &= 0xCF
            self.outbox.send(view[2] << 8 | view[3], bytes(view), owner, peer)
        else:
            send(self._sock, view, peer)

    def excuse(self, request, error):
        if self._failed:
            try:
                self._failed(request, error)
            except Exception as more:
                self._say(request.path, more)
        else:
            self._say(request.path, error)
        return Reply(500)

    def _say(self, what, error):
        """Prints it at the 1st, 2nd, 4th, 8th... time: anybody can send as many as they like."""
        self._faults += 1
        if not self._faults & (self._faults - 1):
            print("coap.server: %s: %r (error %d)" % (what, error, self._faults))


def _path(message):
    """Uri-Path as text; "" if it is not UTF-8 or has a slash within a part."""
    path = ""
    for part in message.values(_PATH):
        if b"/" in part:
            return ""
        try:
            path += "/" + str(part, "utf-8")
        except UnicodeError:
            return ""
    return path or "/"
