"""One CoAP peer over one socket, the client's side: sends a request, and receives its answer."""

import asyncio
from os import urandom

from coap.block import CoapError
from coap.exchange import Outbox, Recent
from coap.message import Message, const, encode, insert
from coap.udp import open_socket, readable, receive, send, sleep_ms, ticks_diff, ticks_ms

OVERHEAD = const(128)  # bytes of a message beside its block: header, token, options
_TICK_MS = const(100)
_RECENT = const(8)  # messages remembered to recognise duplicates

_CON = const(0)
_NON = const(1)
_ACK = const(2)
_RST = const(3)
_IGNORED = const(1)  # as in coap.message
_MALFORMED = const(2)
_ECHO = const(252)
_ACKED = const(0)  # as in coap.exchange
_RESET = const(1)
_GIVEN_UP = const(2)


class Peer:
    """The base of coap.client.Client, which documents the arguments."""

    def __init__(self, host, port=5683, block=512, buffers=None, token_size=4, ack_timeout_s=2):
        self.szx = 0
        while 16 << self.szx < block:
            self.szx += 1
        if block != 16 << self.szx or self.szx > 6:
            raise ValueError("a block size is 16, 32, 64 ... or 1024, not %r" % block)
        self._in, self._out = buffers or (
            bytearray(block + OVERHEAD),
            bytearray(block + OVERHEAD),
        )
        self._where = host, port
        self._token_size = token_size
        self._ack_timeout = ack_timeout_s
        self._sock = None
        self._lost = False  # the last message was not answered
        self._outbox = None
        self._tasks = ()
        self._lock = asyncio.Lock()
        self._busy = asyncio.Event()  # a message is on its way
        self._done = asyncio.Event()
        self._message = Message()
        self._short = bytearray(4)  # acknowledgements and resets
        self._mid = urandom(1)[0] << 8 | urandom(1)[0]
        self._recent = Recent(_RECENT)
        self._step = None  # a Body or Upload, which receives the answer
        self._echo = None
        self._silent = False
        self._token = b""
        self._error = None
        self._since = self._limit = 0
        self.observations = []

    def close(self):
        """Closes the socket; requests and observations end with CoapError("closed")."""
        if self._sock:
            self._shut()
            self._end(CoapError("closed", "the client was closed"))
            for watch in list(self.observations):
                watch.close()

    def _shut(self):
        for task in self._tasks:
            task.cancel()
        self._sock.close()
        self._sock = self._outbox = None
        self._lost = False

    async def exchange(
        self, method, options, payload, step, confirmable, wait, silent=False, token=None
    ):
        """Sends one message and waits until step.take has received the answer.

        silent: no answer is needed. Without a step it is a ping. Raises CoapError, and exceptions
        of step.take.
        """
        async with self._lock:
            if self._lost and self._sock:
                # A connected socket keeps the address it had when it was made, right or wrong.
                self._shut()
                for watch in self.observations:
                    watch.lapse()
            if not self._sock:
                self._open()
            echo = None
            while True:
                self._token = urandom(self._token_size) if token is None else token
                self._mid = self._mid + 1 & 0xFFFF
                kind = _CON if confirmable else _NON
                size = encode(self._out, kind, method, self._mid, self._token, options, payload)
                view = memoryview(self._out)[:size]
                self._echo = echo
                self._step = step
                self._silent = silent
                self._error = None
                self._since = ticks_ms()
                self._limit = wait
                self._done.clear()
                self._busy.set()
                try:
                    if confirmable:
                        self._outbox.send(self._mid, view, self)
                    else:
                        send(self._sock, view)
                    if confirmable or not silent:
                        await self._done.wait()
                finally:
                    self._end(None)
                if self._error:
                    raise self._error
                if self._echo is echo:
                    return
                echo = self._echo  # the peer requires proof that we are there now (RFC 9175)
                options = list(options)
                insert(options, _ECHO, echo)

    def _open(self):
        try:
            self._sock = open_socket(*self._where)
        except OSError as error:
            raise CoapError("timeout", "cannot reach %s:%d: %r" % (self._where + (error,)))
        self._outbox = Outbox(self._sock, self._ack_timeout)
        self._tasks = asyncio.create_task(self._receive()), asyncio.create_task(self._clock())

    def _end(self, error):
        """Ends the message on its way, if there is one."""
        if self._busy.is_set():
            self._error = error
            self._busy.clear()
            if self._outbox:
                self._outbox.forget(self)
            self._done.set()

    def ended(self, outcome):
        """The message on its way has been acknowledged, reset or given up (Outbox)."""
        if outcome == _ACKED:
            if self._silent:
                self._end(None)
        elif outcome == _RESET:
            self._end(CoapError("reset", "the peer rejects the message") if self._step else None)
        else:
            self._lost = True
            self._end(CoapError("timeout", "no answer from %s:%d" % self._where))

    async def _clock(self):
        while True:
            await self._busy.wait()
            self._recent.purge()
            await sleep_ms(_TICK_MS)
            if self._busy.is_set():
                self._outbox.tick()
            if self._busy.is_set() and ticks_diff(ticks_ms(), self._since) > self._limit:
                self.ended(_GIVEN_UP)

    async def _receive(self):
        while True:
            await readable(self._sock)
            try:
                size = receive(self._sock, self._in)
            except OSError:
                await sleep_ms(_TICK_MS)  # the peer's port is closed, for now
            else:
                try:
                    self._received(size)
                except Exception:  # what one datagram does must not make us deaf to the others
                    self._end(CoapError("protocol", "a datagram that could not be taken"))

    def _received(self, size):
        message = self._message
        verdict = message.decode(self._in, size)
        if verdict == _IGNORED:
            return
        kind = message.kind
        mine = self._busy.is_set() and self._step and message.has_token(self._token)
        if size == len(self._in):
            verdict = _MALFORMED
            if mine:
                self._end(CoapError("size", "an answer larger than the buffer"))
        if kind == _RST:
            if self._busy.is_set() and message.mid == self._mid:
                self.ended(_RESET)
        elif kind == _ACK:
            if verdict == _MALFORMED:
                return
            if not message.code:
                self._outbox.end(_ACKED, message.mid)
            elif message.code < 200:
                return  # a request in an acknowledgement: not CoAP
            elif mine and message.mid == self._mid:
                self._answered(message)
            else:
                self._notified(message)
        else:
            self._separate(message, verdict, mine)

    def _separate(self, message, verdict, mine):
        """Handles a separate answer or a notification (RFC 7252 section 5.2.2)."""
        before = self._recent.find(message.mid)
        if before:
            reply = before[3]
        else:
            reply = _RST
            if verdict != _MALFORMED and not message.refused and message.code >= 200:
                if mine:
                    reply = _ACK
                    self._answered(message)
                elif self._notified(message):
                    reply = _ACK
            self._recent.add(message.mid, reply)
        # A reset also answers a notification without an observation: it ends them (RFC 7641, 3.6).
        if message.kind == _CON or (reply == _RST and message.code >= 200):
            encode(self._short, reply, 0, message.mid, b"", ())
            send(self._sock, self._short)

    def _notified(self, message):
        """Passes a notification to its observation; returns False if there is none."""
        for watch in self.observations:
            if message.has_token(watch.token):
                watch.notified(message)
                return True
        return False

    def _answered(self, message):
        if message.refused:
            self._end(CoapError("protocol", "an answer with unknown option %d" % message.refused))
            return
        echo = message.values(_ECHO) if message.code == 401 else None
        if echo and self._echo is None:
            self._echo = echo[0]
            self._end(None)
            return
        try:
            self._step.take(message)
        except Exception as error:  # the sink's or ours: exchange() raises it
            self._end(error)
        else:
            self._end(None)
