"""A broker that speaks MQTT 5 badly or unusually, as the client identifier says, and one that speaks nonsense."""

from __future__ import annotations

import random
import socket
import time

from hostile_mqtt import _length, packet
from tcp_server import Served

WELCOME = bytes.fromhex("2003000000")
PUBLISH = bytes.fromhex("3000000161")

# What is said right after CONNECT; then the connection stays open, silent.
SAID = {
    "refused": bytes.fromhex("2009008706") + b"\x1f\x00\x03off",
    "connack-short": bytes.fromhex("20020000"),
    "connack-beyond": bytes.fromhex("2003000005"),
    "connack-trailing": bytes.fromhex("200400000000"),
    "connack-foreign": bytes.fromhex("2008000005") + b"\x08\x00\x02ab",
    "property-unknown": WELCOME + bytes.fromhex("3007000161027f0041"),
    "property-twice": WELCOME + bytes.fromhex("30080001610401000100"),
    "property-cut": WELCOME + bytes.fromhex("300700016103020000"),
    "property-text": WELCOME + bytes.fromhex("300900016105030002c328"),
    "properties-beyond": WELCOME + bytes.fromhex("300500016110ff"),
    "properties-endless": WELCOME + bytes.fromhex("3008000161ffffffffff"),
    "properties-missing": WELCOME + bytes.fromhex("3003000161"),
    "alias-none": WELCOME + bytes.fromhex("300600000323000141"),
    "alias-zero": WELCOME + bytes.fromhex("30080001610323000041"),
    "alias-beyond": WELCOME + bytes.fromhex("30080001610323000941"),
    "no-topic": WELCOME + bytes.fromhex("3004000000ff"),
    "suback-short": WELCOME + bytes.fromhex("90020001"),
    "suback-two": WELCOME + bytes.fromhex("90050001000000"),
    "auth": WELCOME + bytes.fromhex("f000"),
    "took-leave": WELCOME + bytes.fromhex("e0018b"),
}


def client_id(hello: bytes) -> str:
    """Of the body of a CONNECT, of 3.1.1 or 5."""
    at = 10
    if hello[6] == 5:
        at += 1 + hello[10]  # fewer than 128 bytes of properties
    size = int.from_bytes(hello[at : at + 2], "big")
    return hello[at + 2 : at + 2 + size].decode()


class NastyFive:
    """Behaves as the client identifier says; keeps a record of what it got, by identifier."""

    def __init__(self) -> None:
        self.record: dict[str, list[tuple[int, bytes]]] = {}
        self.server = Served(self._serve)

    def _serve(self, peer: socket.socket) -> None:
        _, hello = packet(peer)
        name = client_id(hello)
        visits = self.record.setdefault(name, [])
        visits.append((0, b"CONNECT"))
        scene = getattr(self, "_" + name.replace("-", "_"), None)
        if scene:
            scene(peer, visits)
            return
        peer.sendall(SAID[name])
        while peer.recv(4096):
            pass

    def _limits(self, peer: socket.socket, visits: list) -> None:
        """Receive maximum 2, packets up to 100 bytes, no retained messages, topic aliases up to 2, keepalive 1000."""
        peer.sendall(bytes.fromhex("20 13 00 00 10 21 0002 27 00000064 25 00 22 0002 13 03e8"))
        waiting = []
        while True:
            peer.settimeout(0.3)
            try:
                kind, body = packet(peer)
            except TimeoutError:
                # Nothing more came: the client keeps to the limit. Now it gets its answers.
                visits.append((0xFF, bytes([len(waiting)])))
                for identifier in waiting:
                    peer.sendall(b"\x40\x02" + identifier)
                waiting.clear()
                continue
            if kind == 0xC0:
                peer.sendall(b"\xd0\x00")
                continue
            visits.append((kind, body))
            at = 2 + int.from_bytes(body[:2], "big")
            if kind & 0xF6 == 0x32:
                waiting.append(body[at : at + 2])

    def _speaks(self, peer: socket.socket, visits: list) -> None:
        """Two messages over an alias, a refused subscription, a refused message, all with reasons."""
        peer.sendall(WELCOME)
        peer.sendall(b"\x30\x0c\x00\x03a/b\x03\x23\x00\x01one")
        peer.sendall(b"\x30\x09\x00\x00\x03\x23\x00\x01two")
        while True:
            kind, body = packet(peer)
            visits.append((kind, body))
            if kind == 0x82:
                peer.sendall(b"\x90\x0a" + body[:2] + b"\x06\x1f\x00\x03why\x87")
            elif kind & 0xF6 == 0x32:
                at = 2 + int.from_bytes(body[:2], "big")
                peer.sendall(b"\x40\x0a" + body[at : at + 2] + b"\x97\x06\x1f\x00\x03why")
            elif kind == 0xC0:
                peer.sendall(b"\xd0\x00")


class Fuzzer:
    """Answers CONNECT with legal packets of which some bytes are not; every hundredth connection is a good broker.

    What a client is met with is decided by its identifier and the number of its connection, so it can be told again.
    """

    GOOD = 100

    def __init__(self) -> None:
        self.visits: dict[str, int] = {}
        self.server = Served(self._serve)

    def _serve(self, peer: socket.socket) -> None:
        kind, hello = packet(peer)
        name, five = client_id(hello), hello[6] == 5
        count = self.visits[name] = self.visits.get(name, 0) + 1
        welcome = WELCOME if five else bytes.fromhex("20020000")
        if count > self.GOOD:
            peer.sendall(welcome)
            self._good(peer)
        chance = random.Random(f"{name} {count}")
        talk = bytearray(welcome)
        for _ in range(chance.randrange(1, 12)):
            talk += self._packet(chance, five)
        for _ in range(chance.choice((0, 1, 1, 2, 5))):
            talk[chance.randrange(len(talk))] = chance.randrange(256)
        if chance.random() < 0.3:
            del talk[chance.randrange(len(talk)) :]
        style = chance.random()
        if style < 0.1:
            for at in range(0, len(talk), 3):
                peer.sendall(talk[at : at + 3])
                time.sleep(0.001)
        else:
            peer.sendall(talk)
        if style > 0.9:
            while True:  # and it never ends
                peer.sendall(chance.randbytes(1000))
        peer.settimeout(0.05)
        peer.recv(1000)

    def _packet(self, chance: random.Random, five: bool) -> bytes:
        kind = chance.choice((0x30, 0x32, 0x31, 0x3A, 0x40, 0x90, 0xB0, 0xD0, 0xE0, chance.randrange(256)))
        body = bytearray()
        if kind & 0xF0 == 0x30:
            topic = chance.choice((b"a", b"a/b", b"fuzz/" + bytes(chance.choices(b"abc/+#\x00\xff", k=5))))
            body += len(topic).to_bytes(2, "big") + topic
            if kind & 6:
                body += chance.randrange(1, 9).to_bytes(2, "big")
            if five:
                block = chance.choice(
                    (b"", b"\x02\0\0\0\1", b"\x08\0\1r", b"\x23\0\1", b"\x26\0\1a\0\1b", b"\x0b\x81\1")
                )
                body += bytes([len(block)]) + block
            body += chance.randbytes(chance.choice((0, 3, 200, 600, 2000)))
        else:
            body += chance.randrange(1, 5).to_bytes(2, "big") + chance.randbytes(chance.randrange(5))
        return bytes([kind]) + _length(len(body)) + body

    def _good(self, peer: socket.socket) -> None:
        while True:
            kind, body = packet(peer)
            if kind == 0xC0:
                peer.sendall(b"\xd0\x00")
            elif kind & 0xF6 == 0x32:
                at = 2 + int.from_bytes(body[:2], "big")
                peer.sendall(b"\x40\x02" + body[at : at + 2])
