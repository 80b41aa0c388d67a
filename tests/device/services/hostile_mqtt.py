"""A broker that breaks MQTT 3.1.1, or keeps it in unusual ways: what it does is named by the client identifier."""

from __future__ import annotations

import socket
import struct
import time

from tcp_server import Served, exactly


def packet(peer: socket.socket) -> tuple[int, bytes]:
    """One MQTT packet: first byte, body."""
    kind = exactly(peer, 1)[0]
    size = shift = 0
    while True:
        byte = exactly(peer, 1)[0]
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return kind, exactly(peer, size)


WELCOME = bytes.fromhex("20020000")

# What is said right after CONNECT; then the connection stays open, silent.
SAID = {
    "silent": b"",
    "garbage": b"HTTP/1.0 400 Bad Request\r\n\r\n",
    "connack-refused": bytes.fromhex("20020005"),
    "connack-code": bytes.fromhex("20020063"),
    "connack-flags": bytes.fromhex("20020800"),
    "connack-long": bytes.fromhex("2003000000"),
    "connack-kept": bytes.fromhex("20020100"),
    "connack-huge": bytes.fromhex("20ffffff7f"),
    "length-of-five": WELCOME + bytes.fromhex("30ffffffff01"),
    "stall": WELCOME + bytes.fromhex("3064000161") + b"x" * 10,
    "topic-beyond": WELCOME + bytes.fromhex("30050010616263"),
    "topic-empty": WELCOME + bytes.fromhex("30020000"),
    "no-topic": WELCOME + bytes.fromhex("300100"),
    "publish-empty": WELCOME + bytes.fromhex("3000"),
    "no-identifier": WELCOME + bytes.fromhex("3203000161"),
    "identifier-zero": WELCOME + bytes.fromhex("32050001610000"),
    "qos-2": WELCOME + bytes.fromhex("34050001610001"),
    "qos-3": WELCOME + bytes.fromhex("36050001610001"),
    "not-utf8": WELCOME + bytes.fromhex("30040002c328"),
    "wildcard": WELCOME + bytes.fromhex("30050003612f23"),
    "type-0": WELCOME + bytes.fromhex("0000"),
    "type-15": WELCOME + bytes.fromhex("f000"),
    "connect": WELCOME + bytes.fromhex("1000"),
    "connack-twice": WELCOME + WELCOME,
    "pubrec": WELCOME + bytes.fromhex("50020001"),
    "puback-short": WELCOME + bytes.fromhex("400101"),
    "puback-flags": WELCOME + bytes.fromhex("41020001"),
    "pong-unasked": WELCOME + bytes.fromhex("d000"),
    "pong-long": WELCOME + bytes.fromhex("d00100"),
    "suback-code": WELCOME + bytes.fromhex("9003000133"),
    "control-huge": WELCOME + bytes.fromhex("90ffff7f"),
    "oversized-qos-2": WELCOME + bytes.fromhex("34ffff7f000161"),
    "oversized-topic": WELCOME + bytes.fromhex("30804effff"),
    "eof-now": b"",
    "eof-connack": WELCOME[:3],
    "eof-idle": WELCOME,
    "eof-publish": WELCOME + bytes.fromhex("3064000161") + b"x" * 10,
}


class NastyBroker:
    """Behaves as the client identifier says; keeps a record of the PUBLISH packets it got, by identifier."""

    def __init__(self) -> None:
        self.record: dict[str, list[tuple[int, bytes]]] = {}
        self.server = Served(self._serve)

    def _serve(self, peer: socket.socket) -> None:
        _, hello = packet(peer)
        size = int.from_bytes(hello[10:12], "big")
        name = hello[12 : 12 + size].decode()
        visits = self.record.setdefault(name, [])
        first_visit = not visits
        visits.append((0, b"CONNECT"))
        scene = getattr(self, "_" + name.replace("-", "_"), None)
        if scene:
            peer.sendall(WELCOME)
            scene(peer, visits, first_visit)
            return
        peer.sendall(SAID[name])
        if not name.startswith("eof"):
            while peer.recv(4096):
                pass

    def _endless(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        """A legal message of 256 MiB that never ends."""
        peer.sendall(bytes.fromhex("30ffffff7f000161"))
        while True:
            peer.sendall(b"x" * 1000)
            time.sleep(0.01)

    def _drip(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        peer.sendall(bytes.fromhex("30ff07000161"))
        while True:
            peer.sendall(b"x")
            time.sleep(0.1)

    def _deaf(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        time.sleep(30)

    def _mute(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        """Acknowledges nothing."""
        while True:
            visits.append(packet(peer))

    def _no_puback(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        """Forgets each PUBLISH the first time; the second connection acknowledges."""
        self._serve_well(peer, visits, acknowledge=not first_visit)

    def _crash(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        """Takes three messages, acknowledges the first, and is gone; the second connection is a good one."""
        if not first_visit:
            self._serve_well(peer, visits)
            return
        for number in range(3):
            visits.append(packet(peer))
            if number == 0:
                peer.sendall(_puback(visits[-1][1]))
        time.sleep(0.2)  # else what was sent could be lost with the connection

    def _backwards(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        """Acknowledges four messages at once, last first, and some that were never sent."""
        bodies = []
        while len(bodies) < 4:
            visits.append(packet(peer))
            bodies.append(visits[-1][1])
        peer.sendall(bytes.fromhex("4002fff0") + b"".join(map(_puback, reversed(bodies))))
        self._serve_well(peer, visits)

    def _oversized(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        """Too large with QoS 1, too large with QoS 0, then a small one; the acknowledgement is recorded."""
        body = bytes.fromhex("000161") + bytes.fromhex("0007") + b"x" * 20_000
        peer.sendall(b"\x32" + _length(len(body)) + body)
        body = bytes.fromhex("000161") + b"y" * 9_000
        peer.sendall(b"\x30" + _length(len(body)) + body)
        peer.sendall(bytes.fromhex("30050001617a7a"))
        self._serve_well(peer, visits)

    def _cut(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        """A message of 8000 bytes; the first connection ends after 3000 of them."""
        head = b"\x32" + _length(8005) + bytes.fromhex("000161") + bytes.fromhex("0009")
        peer.sendall(head + b"x" * (3000 if first_visit else 8000))
        if not first_visit:
            self._serve_well(peer, visits)

    def _refuses(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        self._serve_well(peer, visits, granted=b"\x80")

    def _burst(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        """60 QoS 1 messages in one go, then keeps a record of the acknowledgements."""
        peer.sendall(b"".join(b"\x32\x07\x00\x01b" + n.to_bytes(2, "big") + n.to_bytes(2, "big") for n in range(1, 61)))
        self._serve_well(peer, visits)

    def _stale(self, peer: socket.socket, visits: list, first_visit: bool) -> None:
        """60 messages of QoS 1 and gone; the second connection is a good one, and has nothing to acknowledge.

        The first is acknowledged before the rest go out: a reset would otherwise overtake the CONNACK on a busy
        machine, and the client would never have had a first session.
        """
        if first_visit:
            first, *rest = (b"\x32\x07\x00\x01s" + bytes((0, n, 0, n)) for n in range(1, 61))
            peer.sendall(first)
            packet(peer)
            peer.sendall(b"".join(rest))
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # not even a FIN
        else:
            self._serve_well(peer, visits)

    def _serve_well(self, peer: socket.socket, visits: list, acknowledge: bool = True, granted: bytes = b"") -> None:
        while True:
            kind, body = packet(peer)
            if kind == 0xC0:
                peer.sendall(b"\xd0\x00")
                continue
            visits.append((kind, body))
            if kind & 0xF6 == 0x32 and acknowledge:
                peer.sendall(_puback(body))
            elif kind == 0x82:
                peer.sendall(b"\x90\x03" + body[:2] + (granted or body[-1:]))


def _puback(body: bytes) -> bytes:
    at = 2 + int.from_bytes(body[:2], "big")
    return b"\x40\x02" + body[at : at + 2]


def _length(size: int) -> bytes:
    out = b""
    while size > 127:
        out += bytes([size & 127 | 128])
        size >>= 7
    return out + bytes([size])
