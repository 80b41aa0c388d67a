"""A UDP relay between two CoAP peers: writes down what passes, loses, repeats and delays it."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import threading
import time
from collections.abc import Callable

from aiocoap import Message
from aiocoap.numbers.types import Type

Lose = Callable[["Packet"], bool]


class Packet:
    """One datagram: its bytes, whether the client sent it (`up`), whether it was lost on the way."""

    def __init__(self, data: bytes, up: bool, index: int):
        self.data = data
        self.up = up
        self.index = index  # of its direction, from 0
        self.lost = False

    @property
    def message(self) -> Message:
        return Message.decode(self.data)

    def __str__(self) -> str:
        """Such as "> CON GET", "< ACK 2.05", "< ACK" for an empty one; "(lost)" after it."""
        message = self.message
        kind = Type(message.mtype).name if message.mtype is not None else "?"
        code = message.code
        text = f" {code.name}" if code.is_request() else f" {code.dotted}" if code.is_response() else ""
        return f"{'>' if self.up else '<'} {kind}{text}{' (lost)' if self.lost else ''}"


class Relay:
    """Stands between a client and the server at `port` of this machine; use as a context manager.

    lose(packet): decides on losses. loss, repeat, delay: probabilities, by a generator with a seed; what is delayed
    comes up to 0.3 s later, so that others pass it.
    """

    def __init__(
        self,
        port: int,
        lose: Lose | None = None,
        loss: float = 0,
        repeat: float = 0,
        delay: float = 0,
        seed: int = 1,
        host: str = "127.0.0.1",
    ):
        self._server = ("127.0.0.1", port)
        self._lose = lose
        self._chances = loss, repeat, delay
        self._random = random.Random(seed)
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind((host, 0))
        self.port: int = self._front.getsockname()[1]
        self._behind: dict[tuple[str, int], socket.socket] = {}  # a socket towards the server for each client
        self._later: list[tuple[float, socket.socket, bytes, tuple[str, int]]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._counts = {True: 0, False: 0}
        self.packets: list[Packet] = []
        self.disturbed = 0  # packets lost, repeated or delayed

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for sock in [self._front, *self._behind.values()]:
            sock.close()

    @property
    def clients(self) -> list[tuple[str, int]]:
        """The addresses that datagrams for the server came from."""
        return list(self._behind)

    @property
    def transcript(self) -> list[str]:
        return [str(packet) for packet in self.packets]

    def _run(self) -> None:
        while not self._over.is_set():
            readable, _, _ = select.select([self._front, *self._behind.values()], [], [], 0.02)
            for sock in readable:
                try:
                    data, sender = sock.recvfrom(65536)
                except OSError:
                    continue  # the peer's port is closed, says the system
                if sock is self._front:
                    if sender not in self._behind:
                        behind = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                        behind.bind(("127.0.0.1", 0))
                        self._behind[sender] = behind
                    self._pass(data, True, self._behind[sender], self._server)
                else:
                    client = next(peer for peer, other in self._behind.items() if other is sock)
                    self._pass(data, False, self._front, client)
            now = time.monotonic()
            for entry in [entry for entry in self._later if entry[0] <= now]:
                self._later.remove(entry)
                self._send(*entry[1:])

    def _pass(self, data: bytes, up: bool, sock: socket.socket, to: tuple[str, int]) -> None:
        packet = Packet(data, up, self._counts[up])
        self._counts[up] += 1
        self.packets.append(packet)
        loss, repeat, delay = self._chances
        if (self._lose and self._lose(packet)) or self._random.random() < loss:
            packet.lost = True
            self.disturbed += 1
            return
        copies = 2 if self._random.random() < repeat else 1
        self.disturbed += copies - 1
        for _ in range(copies):
            if self._random.random() < delay:
                self.disturbed += 1
                self._later.append((time.monotonic() + self._random.random() * 0.3, sock, data, to))
            else:
                self._send(sock, data, to)

    @staticmethod
    def _send(sock: socket.socket, data: bytes, to: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):
            sock.sendto(data, to)
