"""The board's side of MQTT 3.1.1 on asyncio, as small as thousands in one process need it: QoS 1, clean sessions."""

from __future__ import annotations

import asyncio
import struct
from typing import Protocol, cast

from tidegate.simulate.conditions import Conditions

KEEPALIVE_S = 60
_CONNECT, _CONNACK, _PUBLISH, _PUBACK, _SUBSCRIBE, _SUBACK, _PING, _PONG = 1, 2, 3, 4, 8, 9, 12, 13
# user name, password, will at QoS 1 and retained, clean session
_FLAGS = 0x80 | 0x40 | 0x20 | 0x08 | 0x04 | 0x02
_DUP = 8
_MOST = 20480  # bytes of a packet that a board would take


class LinkError(Exception):
    """The connection was refused, or it ended."""


class Listener(Protocol):
    """Who has a connection."""

    def message(self, topic: str, payload: bytes) -> None:
        """A message came down."""

    def acknowledged(self, number: int) -> None:
        """The broker has the message that `publish` numbered so."""

    def lost(self, reason: str) -> None:
        """The connection has ended."""


def connect_packet(client: str, password: str, will_topic: str, will: bytes) -> bytes:
    """The first packet; the client's id is also its user name."""
    body = _field(b"MQTT") + bytes([4, _FLAGS]) + struct.pack(">H", KEEPALIVE_S) + _field(client.encode())
    body += _field(will_topic.encode()) + _field(will) + _field(client.encode()) + _field(password.encode())
    return _packet(_CONNECT << 4, body)


class Link(asyncio.Protocol):
    """One connection. `ready` is done when the broker has accepted it, and fails with LinkError if it does not."""

    def __init__(self, first: bytes, listener: Listener, conditions: Conditions | None = None) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.open = False
        self._first = first
        self._listener = listener
        self._conditions = conditions
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._number = 0
        self._subscribed: dict[int, asyncio.Future[None]] = {}
        self._pongs: list[asyncio.Future[None]] = []

    # ------------------------------------------------------------ what a board does

    def publish(self, topic: bytes, payload: bytes, retain: bool = False, again: bool = False) -> int:
        """Send at QoS 1; the number that the acknowledgement will have. again: an earlier attempt may have arrived."""
        self._number = number = self._number % 0xFFFF + 1
        head = _PUBLISH << 4 | (_DUP if again else 0) | 2 | retain
        self._write(_packet(head, _field(topic) + struct.pack(">H", number) + payload))
        return number

    def subscribe(self, *topics: str) -> asyncio.Future[None]:
        self._number = number = self._number % 0xFFFF + 1
        self._subscribed[number] = done = asyncio.get_running_loop().create_future()
        body = b"".join(_field(topic.encode()) + b"\x01" for topic in topics)
        self._write(_packet(_SUBSCRIBE << 4 | 2, struct.pack(">H", number) + body))
        return done

    def ping(self) -> asyncio.Future[None]:
        """Done when the broker has answered."""
        answered = asyncio.get_running_loop().create_future()
        self._pongs.append(answered)
        self._write(bytes([_PING << 4, 0]))
        return answered

    def abort(self) -> None:
        """The power goes, or the network: the broker hears no goodbye."""
        if self._transport is not None:
            self._transport.abort()

    def stop_reading(self) -> None:
        """It hangs: the connection stays, and nothing is taken from it."""
        if self._transport is not None and self.open:
            self._transport.pause_reading()

    # ------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._write(self._first)

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        reason = "connection lost" if error is None else type(error).__name__
        for waiting in (self.ready, *self._subscribed.values(), *self._pongs):
            if not waiting.done():
                waiting.set_exception(LinkError(reason))
                waiting.exception()  # nobody may be waiting
        self._listener.lost(reason)

    def data_received(self, data: bytes) -> None:
        if self._conditions is None:
            self._take(data)
        else:
            self._conditions.after(self._conditions.down, self._take, data)

    # ------------------------------------------------------------ packets

    def _write(self, data: bytes) -> None:
        if self._conditions is None:
            self._send(data)
        else:
            self._conditions.after(self._conditions.up, self._send, data)

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _take(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        at = 0
        while True:
            found = _whole(buffer, at)
            if found is None:
                break
            start, end = found
            if end - start > _MOST:
                self.abort()
                return
            self._packet(buffer[at], buffer[start:end])
            at = end
        self._buffer = buffer[at:]

    def _packet(self, head: int, body: bytes) -> None:
        kind = head >> 4
        if kind == _PUBACK:
            self._listener.acknowledged(body[0] << 8 | body[1])
        elif kind == _PUBLISH:
            size = body[0] << 8 | body[1]
            topic, at = body[2 : 2 + size].decode(), 2 + size
            if head & 6:
                self._write(bytes([_PUBACK << 4, 2]) + body[at : at + 2])
                at += 2
            self._listener.message(topic, body[at:])
        elif kind == _CONNACK:
            self._accepted(body[1])
        elif kind == _SUBACK:
            self._granted(self._subscribed.pop(body[0] << 8 | body[1], None), body[2:])
        elif kind == _PONG and self._pongs:
            _finish(self._pongs.pop(0))

    def _accepted(self, code: int) -> None:
        if self.ready.done():
            return
        if code:
            self.ready.set_exception(LinkError(f"refused with code {code}"))
            self.abort()
        else:
            self.open = True
            self.ready.set_result(None)

    def _granted(self, waiting: asyncio.Future[None] | None, codes: bytes) -> None:
        """A broker that cannot do it now, as a cluster that has no leader, is left and tried again."""
        if max(codes, default=0) < 0x80:
            _finish(waiting)
        elif waiting is not None and not waiting.done():
            waiting.set_exception(LinkError("a subscription was refused"))
            self.abort()


def _finish(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


def _whole(buffer: bytes, at: int) -> tuple[int, int] | None:
    """Where the body of the packet at `at` begins and ends, if all of it is there."""
    length = shift = 0
    for position in range(at + 1, min(at + 5, len(buffer))):
        byte = buffer[position]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            end = position + 1 + length
            return (position + 1, end) if end <= len(buffer) else None
    return None


def _packet(head: int, body: bytes) -> bytes:
    out, length = bytearray([head]), len(body)
    while True:
        length, low = length >> 7, length & 0x7F
        out.append(low | (0x80 if length else 0))
        if not length:
            return bytes(out) + body


def _field(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data
