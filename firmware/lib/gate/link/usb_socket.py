"""A TCP connection by way of the serial line, as a socket that never waits, and its Stream.

One DATA is under way in each direction; the next follows when whoever reads has taken it. So there
is one mechanism against loss and against a reader that is slow, and a slow reader holds up no
other connection.
"""

import asyncio
import io

from aiotcp import Stream, const, ticks_diff, ticks_ms

from gate.link import usb_frames as frames

_AGAIN_MS = const(400)  # until what was not acknowledged is sent again; doubled each time
_AGAIN_MOST_MS = const(3200)
_LINGER_MS = const(3000)  # a closed connection still sends what it had taken


class Socket(io.IOBase):
    """number: of the connection. established: the host is connected. ended: None, or why there is
    nothing to come any more, "" where the peer closed.
    """

    def __init__(self, line, number, host, port):
        self._line = line
        self.number = number
        self.established = False
        self.ended = None
        self.closed_at = None
        self._event = asyncio.Event()
        self._arrived = b""
        self._next_in = 0
        self._next_out = 0
        self._begin(frames.OPEN, port.to_bytes(2, "big") + host.encode())

    # ------------------------------------------------------------ what aiotcp and TLS call

    def readinto(self, buf):
        """Bytes taken, 0 at the end, None while there are none."""
        data = self._arrived
        if not data:
            if self.ended is None:
                return None
            if self.ended:
                raise OSError(self.ended)
            return 0
        size = min(len(buf), len(data))
        buf[:size] = data[:size]
        self._arrived = data[size:]
        if size == len(data):
            self._acknowledge()
        return size

    def write(self, data):
        """Bytes taken, None while earlier ones are under way."""
        if self.ended is not None:
            raise OSError(self.ended or "the peer closed the connection")
        if self._out is not None or not self.established:
            return None
        size = min(len(data), frames.MOST)
        self._begin(frames.DATA, bytes(memoryview(data)[:size]))
        return size

    def setblocking(self, flag):
        pass

    def ioctl(self, request, argument):
        return 0

    def close(self):
        """Harmless when it is closed."""
        if self.closed_at is None:
            self.closed_at = ticks_ms()
            self._arrived = b""
            if not self.established or self._out is None:
                self._leave()

    async def change(self):
        """Returns when something has happened to it."""
        self._event.clear()
        await self._event.wait()

    # ------------------------------------------------------------ what the line calls

    def take(self, kind, number, payload):
        """A frame for this connection."""
        if kind == frames.OPENED:
            if not self.established:
                self.established = True
                self._out = None
        elif kind == frames.ACK:
            if self.established and self._out is not None and number == self._next_out:
                self._next_out = number + 1 & 0xFF
                self._out = None
                if self.closed_at is not None:
                    self._leave()
        elif kind == frames.CLOSE:
            self.end("".join(chr(byte) if 32 <= byte < 127 else "?" for byte in payload))
        elif kind == frames.DATA:
            if number == self._next_in and not self._arrived and payload:
                self._next_in = number + 1 & 0xFF
                self._arrived = bytes(payload)
                if self.closed_at is not None:  # nobody reads it
                    self._arrived = b""
                    self._acknowledge()
            elif number == self._next_in - 1 & 0xFF and not self._arrived:
                self._acknowledge()  # the answer was lost
        self._event.set()

    def end(self, reason):
        """There is nothing to come any more; what has come can still be read."""
        if self.ended is None:
            self.ended = reason
        self._out = None
        self._line.forget(self)
        self._event.set()

    def tick(self):
        """Sends again what was not acknowledged in time."""
        now = ticks_ms()
        if self.closed_at is not None and ticks_diff(now, self.closed_at) > _LINGER_MS:
            self._leave()
        elif self._out is not None and ticks_diff(now, self._sent) > self._wait:
            self._wait = min(self._wait * 2, _AGAIN_MOST_MS)
            self._send()

    # ------------------------------------------------------------

    def _begin(self, kind, payload):
        self._out = kind, payload
        self._wait = _AGAIN_MS
        self._send()

    def _send(self):
        self._sent = ticks_ms()
        kind, payload = self._out
        self._line.send(kind, self.number, self._next_out, payload)

    def _acknowledge(self):
        if self.ended is None:
            self._line.send(frames.ACK, self.number, self._next_in - 1 & 0xFF)

    def _leave(self):
        if self.ended is None:
            self._line.send(frames.CLOSE, self.number)
            self.end("closed")


class SerialStream(Stream):
    """An aiotcp.Stream that waits for its Socket instead of for the network."""

    def __init__(self, s, raw, handshake=None):
        """s: the Socket, or TLS upon it; raw: the Socket."""
        Stream.__init__(self, s, handshake)
        self._raw = raw

    async def readinto(self, buf):
        while True:
            try:
                size = self.s.readinto(buf)
            except (OSError, ValueError) as error:
                raise self._explained(error)
            if size is not None:
                self.received = ticks_ms()
                return size
            await self._raw.change()

    async def write(self, data):
        self.writing = True
        self.sent = ticks_ms()
        data = memoryview(data)
        while len(data):
            try:
                size = self.s.write(data[: frames.MOST])
            except (OSError, ValueError) as error:
                raise self._explained(error)
            if size:
                self.handshake = None
                data = data[size:]
                self.sent = ticks_ms()
            else:
                await self._raw.change()
        self.writing = False
