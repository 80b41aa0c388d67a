"""paho's client as the server has it: it knows all nodes of a broker, and takes messages in bulk.

It takes the PUBLISH packets out of what a broker sends, many at once; all other packets are left to paho.

paho reads a packet with four system calls and two dozen Python calls, which was a third of what a message cost the
server. This stands in the place of paho's socket: it reads what has arrived, hands on the messages in it together, and
gives paho the rest, in order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import paho.mqtt.client as paho

_READ = 1 << 16
_PUBLISH = 3
_HEAD = 5  # bytes, at most: the kind and a length of four bytes


class Arrived(NamedTuple):
    """A PUBLISH of QoS 0 or 1. number: its packet's, 0 at QoS 0. topic: as it came, which may not be UTF-8."""

    topic: bytes
    payload: bytes
    number: int
    retained: bool
    again: bool


Take = Callable[[list[Arrived]], None]


class Client(paho.Client):
    """paho's client; `take` gets what is published to it, in the thread that reads. It gets no `on_message`.

    addresses: (host, port) of each node, not empty; each attempt to connect is made at the next one.
    """

    take: Take | None = None
    addresses: Sequence[tuple[str, int]] = ()
    _attempts = 0

    def _create_socket(self) -> Any:
        # paho has no public way to give it a socket, nor another address while it connects again; a test holds that
        # it uses this one.
        if self.addresses:
            self._host, self._port = self.addresses[self._attempts % len(self.addresses)]
            self._attempts += 1
        made = super()._create_socket()
        return made if self.take is None else Sifted(made, self.take)


class Sifted:
    """What paho uses of a socket. `recv` never gives a byte of a PUBLISH of QoS 0 or 1."""

    def __init__(self, inner: Any, take: Take) -> None:
        self._inner = inner
        self._take = take
        self._data = b""  # not looked at yet
        self._left = b""  # of a packet for paho

    def recv(self, size: int) -> bytes:
        """At most `size` bytes of packets for paho. Raises what the socket does, or BlockingIOError for none now."""
        if not self._left:
            self._sift()
        if not self._left:
            data = self._inner.recv(_READ)
            if not data:
                return b""
            self._data += data
            self._sift()
        if not self._left:
            raise BlockingIOError
        given, self._left = self._left[:size], self._left[size:]
        return given

    def pending(self) -> int:
        """How many bytes `recv` may have without the system's socket having any."""
        if self._left:
            return len(self._left)
        if _whole(self._data, 0):
            return len(self._data)
        return int(self._inner.pending()) if hasattr(self._inner, "pending") else 0

    def _sift(self) -> None:
        """Hand on the messages up to the next packet for paho, and put that in `_left`."""
        data, at, arrived = self._data, 0, []
        while end := _whole(data, at):
            message = _message(data, at, end) if data[at] >> 4 == _PUBLISH else None
            if message is None:
                self._left = data[at:end]
                at = end
                break
            arrived.append(message)
            at = end
        self._data = data[at:]
        if arrived:
            self._take(arrived)

    def send(self, data: Any) -> int:
        return int(self._inner.send(data))

    def fileno(self) -> int:
        return int(self._inner.fileno())

    def setblocking(self, flag: bool) -> None:
        self._inner.setblocking(flag)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._inner.close()


def _whole(data: bytes, start: int) -> int:
    """Where the packet that begins at `start` ends; 0 if it is not whole. One whose head is wrong is what there is."""
    length, shift, at, size = 0, 0, start + 1, len(data)
    while at < size:
        byte = data[at]
        length |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return at + length if at + length <= size else 0
        if at - start == _HEAD:
            return size
        shift += 7
    return 0


def _message(data: bytes, start: int, end: int) -> Arrived | None:
    """The message in a PUBLISH; None for one that paho is to judge: of QoS 2, or malformed."""
    flags, at = data[start], start + 2
    while data[at - 1] > 127:
        at += 1
        if at - start > _HEAD:
            return None
    qos = flags >> 1 & 3
    topic_end = at + 2 + (data[at] << 8 | data[at + 1]) if at + 2 <= end else end + 1
    body = topic_end + 2 if qos else topic_end
    if qos > 1 or body > end:
        return None
    number = data[topic_end] << 8 | data[topic_end + 1] if qos else 0
    return Arrived(data[at + 2 : topic_end], data[body:end], number, bool(flags & 1), bool(flags & 8))
