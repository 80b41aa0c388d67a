"""The host's end of serial lines, as `tidegate link` has it, behind TCP ports: a line that is good, one that loses and
garbles bytes, and one whose host begins anew in the midst. And a server that echoes, as what boards want to reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Iterator

from tidegate.link.addresses import Allowed
from tidegate.link.relay import Relay

LOSSES = 0.02  # of a piece of up to 64 bytes
PIECE = 64
ANEW_AFTER = 4000  # bytes from the board


class Line:
    """One serial line, from the board's opening it on."""

    def __init__(self, kind: str, allowed: Allowed, writer: asyncio.StreamWriter):
        self._kind = kind
        self._allowed = allowed
        self._writer = writer
        self._chance = random.Random(7)
        self._came = 0
        self._relay = self._new()

    def _new(self) -> Relay:
        return Relay(self._allowed, lambda data: self._writer.write(self._through(data)), lambda what, facts: None)

    async def serve(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(PIECE):
                before, self._came = self._came, self._came + len(data)
                if self._kind == "anew" and before < ANEW_AFTER <= self._came:
                    await self._relay.close()
                    self._relay = self._new()
                self._relay.feed(self._through(data))
        await self._relay.close()
        self._writer.close()

    def _through(self, data: bytes) -> bytes:
        if self._kind != "lossy":
            return data
        pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
        return b"".join(self._spoiled(piece) if self._chance.random() < LOSSES else piece for piece in pieces)

    def _spoiled(self, piece: bytes) -> bytes:
        at = self._chance.randrange(len(piece))
        return self._chance.choice(
            (
                piece[:at] + piece[at + 1 :],
                piece[:at] + bytes((self._chance.randrange(256),)) + piece[at:],
                piece[:at] + bytes((piece[at] ^ 1 << self._chance.randrange(8),)) + piece[at + 1 :],
                b"",
                piece + b"tidegate: a line\r\n\x1e",
            )
        )


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1000):
            if data == b"end":
                break
            writer.write(data)
            await writer.drain()
    writer.close()


async def _serve(ports: dict[str, str], ready: threading.Event, end: asyncio.Event) -> None:
    echo = await asyncio.start_server(_echo, "127.0.0.1", 0)
    number = echo.sockets[0].getsockname()[1]
    ports["echo"] = str(number)
    allowed = Allowed([("127.0.0.1", number), ("127.0.0.1", 1)])
    servers = [echo]
    for kind in ("good", "lossy", "anew"):

        async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: str = kind) -> None:
            await Line(kind, allowed, writer).serve(reader)

        server = await asyncio.start_server(met, "127.0.0.1", 0)
        servers.append(server)
        ports[kind] = str(server.sockets[0].getsockname()[1])
    ready.set()
    await end.wait()
    for server in servers:
        server.close()


@contextlib.contextmanager
def lines(host: str) -> Iterator[dict[str, str]]:
    ports: dict[str, str] = {"host": host}
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    end = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=[_serve(ports, ready, end)], daemon=True)
    thread.start()
    try:
        ready.wait()
        yield ports
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.close()
