"""Peers that break CoAP in every way: malformed, truncated, oversized, endless, slow, and simply wrong messages."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator

from aiocoap import CON, NON, Code, Message

Answer = Callable[[Message], list[bytes]]


def encoded(code: Code | int, payload: bytes = b"", kind=CON, token: bytes = b"tk", mid: int = 1, **options) -> bytes:
    message = Message(code=code, payload=payload, _mtype=kind, _mid=mid, _token=token, **options)
    return message.encode()


def nonsense(rng: random.Random) -> Iterator[bytes]:
    """Datagrams for a server, without end: valid ones with bytes changed, cut, doubled, and pure noise."""
    valid = [
        encoded(Code.GET, uri_path=("test",)),
        encoded(Code.GET, uri_path=("large",), block2=(3, False, 2)),
        encoded(Code.PUT, b"x" * 64, uri_path=("large-update",), block1=(0, True, 2)),
        encoded(Code.PUT, b"x" * 64, uri_path=("large-update",), block1=(7, True, 2)),
        encoded(Code.PUT, b"x" * 1024, uri_path=("sink",), block1=(0, True, 6)),
        encoded(Code.POST, b"x" * 64, uri_path=("large-post",), block1=(0, False, 2), block2=(0, False, 0)),
        encoded(Code.GET, uri_path=("obs",), observe=0),
        encoded(Code.GET, uri_path=("obs-non",), observe=0, kind=NON),
        encoded(Code.GET, uri_path=(".well-known", "core"), uri_query=("rt=Type1", "href=/l*")),
        encoded(Code.POST, b"x", uri_path=("fresh",), echo=b"e" * 12),
        encoded(Code.POST, b"x", uri_path=("count",), no_response=26, kind=NON),
        encoded(Code.CONTENT, b"an answer"),
        b"\x60\x00\x00\x01",
        b"\x70\x00\x00\x01",
        b"\x40\x00\x00\x01",
    ]
    long_option = b"\x44\x01\x00\x02abcd" + b"\xbe\xff\xff" + b"p" * 300
    yield from (b"", b"\x40", b"\x40\x01\x00", b"\x4f\x01\x00\x03" + bytes(15), long_option, b"\x40\x01\x00\x04\xff")
    yield from (b"\x40\x01\x00\x05\xf0", b"\x40\x01\x00\x06\x0f", b"\x40\x01\x00\x07\xe0\xff\xff" * 30, b"\xff" * 1500)
    yield b"\x40\x01\x00\x08" + b"\xb1a" + b"\x01a" * 200  # more options than are taken
    yield b"\x40\x01\x00\x09" + b"\xb1\xff"  # a path that is not UTF-8
    yield b"\x40\x01\x00\x0a" + b"\xb3a/b"
    while True:
        data = bytearray(rng.choice(valid))
        if len(data) > 3:  # new ids, so that they are not duplicates
            data[2:4] = rng.randbytes(2)
        what = rng.random()
        if what < 0.1:
            data = bytearray(rng.randbytes(rng.randrange(1, 1500)))
        elif what < 0.4:
            del data[rng.randrange(len(data)) :]
        elif what < 0.9:
            for _ in range(rng.randrange(1, 4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        else:
            data += data[rng.randrange(len(data)) :] * rng.randrange(1, 20)
        yield bytes(data)


class BadServer:
    """A server in a thread that answers as answer(request) says: any datagrams. Use as a context manager."""

    def __init__(self, answer: Answer):
        self._answer = answer
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self.port: int = self._socket.getsockname()[1]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.requests = 0

    def __enter__(self) -> BadServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                data, peer = self._socket.recvfrom(2048)
            except OSError:
                continue
            message = Message.decode(data)
            if not message.code.is_request():
                continue
            self.requests += 1
            for reply in self._answer(message):
                self._socket.sendto(reply, peer)
