"""The host's end of one board's serial line: answers its HELLO, connects where it wants to, within what is allowed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from tidegate.link.addresses import Allowed
from tidegate.link.connection import Connection
from tidegate.link.frames import NONCE, VERSION, Frame, Kind, Splitter

MOST = 8  # connections of one board
SILENT_S = 120.0  # without a frame; a board that verifies and writes flash is busy for a while, an emulated one longer

Report = Callable[[str, Mapping[str, Any]], None]


class Relay:
    """write: takes the bytes of a frame for the board. report: told of events, ("linked", {...}); docs/usb-uplink.md
    names them. All methods belong to one event loop. session: of the boot it is linked with, 0 without one.
    """

    def __init__(self, allowed: Allowed, write: Callable[[bytes], None], report: Report):
        self._allowed = allowed
        self._write = write
        self._report = report
        self._splitter = Splitter()
        self._nonce = b""
        self.session = 0
        self._heard = 0.0
        self._connections: dict[int, Connection] = {}
        self._odd = False
        self._moved = (0, 0)  # bytes up and down of connections that ended

    def feed(self, data: bytes) -> None:
        """Bytes that came from the board."""
        for found in self._splitter.feed(data):
            if isinstance(found, str):
                self._report("printed", {"line": found})
            else:
                self._take(found)

    def lost(self, why: str) -> None:
        """The board is away: its connections end."""
        if self.session:
            self._report("lost", {"why": why})
        self.session = 0
        self._nonce = b""
        for connection in list(self._connections.values()):
            self._drop(connection)

    async def close(self) -> None:
        """Returns when all its connections are closed."""
        connections = list(self._connections.values())
        self.lost("stopped")
        for connection in connections:
            await connection.dropped()

    def check(self) -> None:
        """To be called now and then."""
        if self.session and time.monotonic() - self._heard > SILENT_S:
            self.lost(f"silent for {SILENT_S:.0f} s")

    @property
    def traffic(self) -> tuple[int, int]:
        """(bytes up, bytes down) since it was made."""
        found = self._connections.values()
        return sum((one.up for one in found), self._moved[0]), sum((one.down for one in found), self._moved[1])

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.HELLO:
            self._hello(frame)
        elif frame.session == self.session and frame.session:
            self._heard = time.monotonic()
            connection = self._connections.get(frame.connection)
            if frame.kind is Kind.CLOSE:
                if connection:
                    self._drop(connection)
            elif connection:
                connection.take(frame)
            elif frame.kind is Kind.OPEN:
                self._open(frame)
            elif frame.kind is not Kind.ACK:
                self._send(Kind.CLOSE, frame.connection, 0, b"")

    def _hello(self, frame: Frame) -> None:
        nonce = frame.payload[:NONCE]
        if frame.number != VERSION or len(nonce) != NONCE:
            if not self._odd:
                self._odd = True
                self._report("refused", {"why": f"the board speaks version {frame.number}; this speaks {VERSION}"})
            return
        self._heard = time.monotonic()
        if nonce != self._nonce:
            if self.session:
                self.lost("the board started anew")
            self._nonce = nonce
            self.session = secrets.randbelow(0xFFFF) + 1
            self._report("linked", {})
        known = frame.payload[NONCE:]
        for connection in list(self._connections.values()):
            if connection.number not in known:
                self._drop(connection)
        listed = bytes(self._connections)
        self._write(Frame(Kind.WELCOME, self.session, 0, VERSION, nonce + listed).pack())

    def _open(self, frame: Frame) -> None:
        host, port = frame.payload[2:].decode("ascii", "replace"), int.from_bytes(frame.payload[:2], "big")
        place = {"host": host, "port": port}
        if not self._allowed.allows(host, port):
            self._report("not-allowed", place)
            self._send(Kind.CLOSE, frame.connection, 0, b"tidegate link does not allow this address")
        elif len(self._connections) >= MOST:
            self._send(Kind.CLOSE, frame.connection, 0, b"too many connections")
        else:
            self._connections[frame.connection] = Connection(frame.connection, host, port, self._send, self._ended)
            self._report("connecting", place)

    def _ended(self, connection: Connection, why: str) -> None:
        if self._connections.get(connection.number) is connection:
            self._forget(connection)
        host, port = connection.address
        self._report("closed", {"host": host, "port": port, "up": connection.up, "down": connection.down, "why": why})

    def _drop(self, connection: Connection) -> None:
        self._forget(connection)
        connection.drop()

    def _forget(self, connection: Connection) -> None:
        del self._connections[connection.number]
        self._moved = (self._moved[0] + connection.up, self._moved[1] + connection.down)

    def _send(self, kind: Kind, connection: int, number: int, payload: bytes) -> None:
        self._write(Frame(kind, self.session, connection, number, payload).pack())
