"""The serial line as the board's network: `tidegate link` on its other end connects with broker
and server (docs/usb-uplink.md). MQTT, HTTP and TLS go through it as they go through TCP.

The board speaks first, and the host writes nothing before: so a host that finds a REPL types
nothing into it. What either end knows of connections is in each HELLO and WELCOME, so that one
that lost a frame, or began anew, closes what the other has no more.
"""

import asyncio

import aiotcp
from aiotcp import const, secure, sleep_ms, within

from gate import console
from gate.link import usb_frames as frames
from gate.link.usb_socket import SerialStream, Socket

_VERSION = const(1)
_NONCE = const(4)  # bytes, of the boot
_TICK_MS = const(200)
_HELLO_TICKS = const(10)
_LOST = const(6)  # HELLOs without an answer until the host is away
_MOST = const(4)  # connections
_LONGEST = const(128)  # characters of a host


def use(board):
    """From now on the board's network is its serial line, for all that connects by aiotcp."""
    if not hasattr(board, "serial_line"):
        board.serial_line = line = Line(frames.Console(), board.random)
        board.network_up = line.start
        board.link = line.linked
        board.addresses = line.addresses
        aiotcp.dial = line.connect


class Line:
    """port: send(bytes), and receive(), a coroutine that gives the next frame. random(count)."""

    def __init__(self, port, random):
        self._port = port
        self._nonce = random(_NONCE)
        self._session = 0  # the host's, new where either end began anew
        self._unanswered = _LOST
        self._sockets = {}
        self._number = 0  # of the last connection
        self._task = None

    def start(self):
        """Begins to speak. Harmless when it does."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def linked(self):
        """Whether a host answers."""
        return self._unanswered < _LOST

    def addresses(self):
        return {}

    async def connect(self, host, port, timeout, ssl=None):
        """As aiotcp.connect."""
        if not self.linked():
            raise OSError("nobody answers on the serial line (tidegate link)")
        if len(self._sockets) >= _MOST or len(host) > _LONGEST:
            raise OSError("too many connections over the serial line")
        self._number = self._number % 255 + 1
        while self._number in self._sockets:
            self._number = self._number % 255 + 1
        s = Socket(self, self._number, host, port)
        self._sockets[s.number] = s
        try:
            await within(timeout, _established(s))
            if not ssl:
                return SerialStream(s, s)
            tls = secure(s, ssl, host)
            tls.setblocking(False)
            return SerialStream(tls, s, s)
        except BaseException:
            s.close()
            raise

    # ------------------------------------------------------------ what sockets call

    def send(self, kind, connection, number=0, payload=b""):
        self._port.send(frames.pack(kind, self._session, connection, number, payload))

    def forget(self, s):
        if self._sockets.get(s.number) is s:
            del self._sockets[s.number]

    # ------------------------------------------------------------

    async def _run(self):
        """A beat beside what listens: neither ends the other, or is ended by an error."""
        listening = asyncio.create_task(self._listen())
        ticks = 0
        try:
            while True:
                if not ticks % _HELLO_TICKS:
                    self._hello()
                ticks += 1
                for s in list(self._sockets.values()):
                    s.tick()
                await sleep_ms(_TICK_MS)
        finally:
            listening.cancel()

    def _hello(self):
        if self._unanswered < _LOST:
            self._unanswered += 1
            if self._unanswered == _LOST:
                console.info("usb: the host is away")
                self._end_all("the host on the serial line is away")
        self.send(frames.HELLO, 0, _VERSION, self._nonce + bytes(self._sockets))

    async def _listen(self):
        while True:
            try:
                self.take(*await self._port.receive())
            except Exception as error:  # no memory, perhaps; what was lost comes again
                console.error("usb: %r", error)
                await sleep_ms(_TICK_MS)

    def take(self, kind, session, connection, number, payload):
        """A frame that came."""
        if kind == frames.WELCOME:
            self._welcome(session, number, payload)
        elif session == self._session and session:
            s = self._sockets.get(connection)
            if s:
                s.take(kind, number, payload)
            elif kind != frames.CLOSE:
                self.send(frames.CLOSE, connection)

    def _welcome(self, session, version, payload):
        if payload[:_NONCE] != self._nonce or version != _VERSION or not session:
            return  # an answer to an earlier boot
        if session != self._session:
            self._end_all("the host on the serial line began anew")
            self._session = session
        if not self.linked():
            console.info("usb: linked")
        self._unanswered = 0
        for s in list(self._sockets.values()):
            if s.established and s.number not in payload[_NONCE:]:
                s.end("the host closed the connection")

    def _end_all(self, reason):
        for s in list(self._sockets.values()):
            s.end(reason)


async def _established(s):
    while not s.established:
        if s.ended is not None:
            raise OSError(s.ended or "the host closed the connection")
        await s.change()
