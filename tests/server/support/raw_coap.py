"""CoAP datagrams made and read by hand (RFC 7252, section 3): what no library would send, byte counts, silence."""

from __future__ import annotations

import itertools
import socket
from typing import NamedTuple

CON, NON, ACK, RST = range(4)
GET, POST = 1, 2
ECHO, URI_PATH, URI_QUERY, BLOCK2, OBSERVE, ETAG = 252, 11, 15, 23, 6, 4


class Answer(NamedTuple):
    type: int
    code: int  # class << 5 | detail
    mid: int
    options: dict[int, bytes]
    payload: bytes
    size: int  # bytes of the datagram
    token: bytes


def _extended(value: int) -> tuple[int, bytes]:
    if value < 13:
        return value, b""
    return (13, bytes((value - 13,))) if value < 269 else (14, (value - 269).to_bytes(2, "big"))


def encode(
    kind: int, code: int, mid: int, token: bytes, options: list[tuple[int, bytes]], payload: bytes = b""
) -> bytes:
    out = bytes((0x40 | kind << 4 | len(token), code)) + mid.to_bytes(2, "big") + token
    before = 0
    for number, value in sorted(options, key=lambda option: option[0]):
        delta, more_delta = _extended(number - before)
        size, more_size = _extended(len(value))
        out += bytes((delta << 4 | size,)) + more_delta + more_size + value
        before = number
    return out + (b"\xff" + payload if payload else b"")


def decode(data: bytes) -> Answer:
    kind, code, mid = data[0] >> 4 & 3, data[1], int.from_bytes(data[2:4], "big")
    at, number, options = 4 + (data[0] & 15), 0, {}
    while at < len(data) and data[at] != 0xFF:
        head, at, parts = data[at], at + 1, []
        for nibble in (head >> 4, head & 15):
            width = {13: 1, 14: 2}.get(nibble, 0)
            extra = int.from_bytes(data[at : at + width], "big")
            parts.append({13: 13 + extra, 14: 269 + extra}.get(nibble, nibble))
            at += width
        number += parts[0]
        options[number] = data[at : at + parts[1]]
        at += parts[1]
    return Answer(kind, code, mid, options, data[at + 1 :], len(data), data[4 : 4 + (data[0] & 15)])


class Peer:
    """A UDP socket towards the server."""

    def __init__(self, url: str, timeout_s: float = 10) -> None:
        host, _, port = url.removeprefix("coap://").rpartition(":")
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(timeout_s)
        self.socket.connect((host, int(port)))
        self._mids = itertools.count(1)
        self._token = b""

    def send(self, code: int, path: str, payload: bytes = b"", *options: tuple[int, bytes], kind: int = CON) -> int:
        """Returns the size of the datagram."""
        path, _, query = path.partition("?")
        all_options = [(URI_PATH, part.encode()) for part in path.split("/")] + list(options)
        if query:
            all_options.append((URI_QUERY, query.encode()))
        mid = next(self._mids)
        self._token = mid.to_bytes(2, "big")
        datagram = encode(kind, code, mid, self._token, all_options, payload)
        self.socket.send(datagram)
        return len(datagram)

    def receive(self) -> Answer:
        return decode(self.socket.recv(2048))

    def ask(self, code: int, path: str, payload: bytes = b"", *options: tuple[int, bytes]) -> Answer:
        """The answer to this request, also a separate one that a busy server sends after an empty acknowledgement."""
        self.send(code, path, payload, *options)
        while True:
            answer = self.receive()
            if answer.token != self._token:
                continue  # an empty acknowledgement, or a late answer to a request before
            if answer.type == CON:
                self.socket.send(encode(ACK, 0, answer.mid, b"", []))
            return answer

    def close(self) -> None:
        self.socket.close()
