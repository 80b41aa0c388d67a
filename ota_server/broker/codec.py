"""MQTT 3.1.1 packets, server side: what clients send is decoded strictly, what we send is encoded.

Section numbers are those of the OASIS standard of 29 October 2014.
"""

from __future__ import annotations

import asyncio
import struct
from typing import NamedTuple

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 10, 11, 12, 13, 14

ACCEPTED, BAD_PROTOCOL, BAD_CLIENT_ID, UNAVAILABLE, BAD_LOGIN, NOT_AUTHORISED = range(6)  # 3.2.2.3
SUBSCRIBE_REFUSED = 0x80  # 3.9.3

# The low four bits of the first byte where they are fixed (2.2.2); PUBLISH carries dup, qos and retain there.
_FIXED_FLAGS = {PUBREL: 2, SUBSCRIBE: 2, UNSUBSCRIBE: 2}


class Malformed(Exception):
    """The peer broke the protocol; the connection must be closed (4.8)."""


class Message(NamedTuple):
    """One application message."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


class Connect(NamedTuple):
    """A CONNECT packet (3.1)."""

    protocol: tuple[str, int]
    client_id: str
    clean: bool
    keepalive: int
    will: Message | None
    user: str | None
    password: bytes | None


class Body:
    """A cursor over the bytes of one packet; every read is bounded by what is there."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if count > self.left():
            raise Malformed("a field is longer than its packet")
        self._at += count
        return self._data[self._at - count : self._at]

    def byte(self) -> int:
        return self.take(1)[0]

    def word(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def binary(self) -> bytes:
        return self.take(self.word())

    def text(self) -> str:
        try:
            text = self.binary().decode("utf-8", "strict")
        except UnicodeDecodeError:
            raise Malformed("a string is not UTF-8") from None
        if "\0" in text:  # 1.5.3
            raise Malformed("a string contains NUL")
        return text

    def packet_id(self) -> int:
        number = self.word()
        if number == 0:  # 2.3.1
            raise Malformed("packet identifier 0")
        return number

    def end(self) -> None:
        if self.left():
            raise Malformed("bytes after the end of a packet")


async def read_packet(reader: asyncio.StreamReader, limit: int) -> tuple[int, int, Body]:
    """The next packet as (type, flags, body). Refuses a body above `limit` bytes before reading it."""
    first = (await reader.readexactly(1))[0]
    length = shift = 0
    while True:  # 2.2.3: at most four bytes of seven bits
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 21:
            raise Malformed("remaining length of more than four bytes")
    if length > limit:
        raise Malformed(f"packet of {length} bytes; at most {limit} are accepted")
    kind, flags = first >> 4, first & 0x0F
    if kind != PUBLISH and flags != _FIXED_FLAGS.get(kind, 0):
        raise Malformed(f"reserved flags {flags} in a packet of type {kind}")
    return kind, flags, Body(await reader.readexactly(length) if length else b"")


def connect(body: Body) -> Connect:
    """Decode CONNECT; the protocol is returned as sent, so that the caller can answer 'unacceptable version'."""
    protocol = (body.text(), body.byte())
    if protocol != ("MQTT", 4):
        return Connect(protocol, "", True, 0, None, None, None)
    flags, keepalive = body.byte(), body.word()
    has_will, will_qos = bool(flags & 4), flags >> 3 & 3
    if flags & 1 or will_qos == 3 or (not has_will and flags & 0x38) or (flags & 0xC0) == 0x40:
        raise Malformed("connect flags contradict each other")  # 3.1.2.3 to 3.1.2.9
    client_id = body.text()
    will = Message(body.text(), body.binary(), will_qos, bool(flags & 0x20)) if has_will else None
    user = body.text() if flags & 0x80 else None
    password = body.binary() if flags & 0x40 else None
    body.end()
    return Connect(protocol, client_id, bool(flags & 2), keepalive, will, user, password)


def publish(flags: int, body: Body) -> tuple[Message, int | None]:
    """Decode PUBLISH to its message and packet identifier (None at QoS 0)."""
    qos = flags >> 1 & 3
    if qos == 3:
        raise Malformed("QoS 3")
    topic = body.text()
    number = body.packet_id() if qos else None
    return Message(topic, body.take(body.left()), qos, bool(flags & 1)), number


def subscribe(body: Body) -> tuple[int, list[tuple[str, int]]]:
    """Decode SUBSCRIBE to its packet identifier and (filter, qos) pairs."""
    number, filters = body.packet_id(), []
    while body.left():
        name, qos = body.text(), body.byte()
        if qos > 2:
            raise Malformed("requested QoS above 2")
        filters.append((name, qos))
    if not filters:
        raise Malformed("SUBSCRIBE without a filter")
    return number, filters


def unsubscribe(body: Body) -> tuple[int, list[str]]:
    """Decode UNSUBSCRIBE to its packet identifier and filters."""
    number, names = body.packet_id(), []
    while body.left():
        names.append(body.text())
    if not names:
        raise Malformed("UNSUBSCRIBE without a filter")
    return number, names


def encode(kind: int, body: bytes = b"", flags: int = 0) -> bytes:
    """One packet with its fixed header."""
    head = bytearray([kind << 4 | (flags or _FIXED_FLAGS.get(kind, 0))])
    length = len(body)
    while True:
        length, low = length >> 7, length & 0x7F
        head.append(low | (0x80 if length else 0))
        if not length:
            return bytes(head) + body


def encode_connack(code: int, session_present: bool = False) -> bytes:
    return encode(CONNACK, bytes([session_present and code == ACCEPTED, code]))


def encode_ack(kind: int, number: int, codes: bytes = b"") -> bytes:
    """PUBACK, PUBREC, PUBCOMP, UNSUBACK, and SUBACK with its return codes."""
    return encode(kind, struct.pack(">H", number) + codes)


def encode_publish(message: Message, number: int | None, dup: bool = False) -> bytes:
    name = message.topic.encode()
    body = struct.pack(">H", len(name)) + name + (struct.pack(">H", number) if number else b"") + message.payload
    return encode(PUBLISH, body, dup << 3 | message.qos << 1 | message.retain)
