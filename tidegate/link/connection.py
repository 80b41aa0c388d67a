"""One TCP connection that a board has asked for: what comes from it goes down in DATA, one at a time, and reversed."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

from tidegate.link.frames import MOST, Frame, Kind

CONNECT_S = 15.0
AGAIN_S = 0.4  # until what was not acknowledged is sent again; doubled each time
AGAIN_MOST_S = 3.2
REASON = 100  # bytes of the reason of a CLOSE

Send = Callable[[Kind, int, int, bytes], None]  # kind, connection, number, payload


class Connection:
    """up, down: bytes so far, towards the network and towards the board. ended(self, why): called once, when both
    sides know that it is over."""

    def __init__(self, number: int, host: str, port: int, send: Send, ended: Callable[[Connection, str], None]):
        self.number = number
        self.address = (host, port)
        self.up = 0
        self.down = 0
        self._send = send
        self._ended = ended
        self._opened = False
        self._over = False
        self._next_in = 0
        self._next_out = 0
        self._taken = asyncio.Event()  # the board has acknowledged the DATA under way
        self._arrived: asyncio.Queue[bytes] = asyncio.Queue(1)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def take(self, frame: Frame) -> None:
        """A frame of the board for this connection."""
        if frame.kind is Kind.OPEN and self._opened:
            self._tell(Kind.OPENED)  # the answer was lost
        elif frame.kind is Kind.ACK and frame.number == self._next_out:
            self._taken.set()
        elif frame.kind is Kind.DATA and self._opened and frame.payload:
            if frame.number == self._next_in and self._arrived.empty():
                self._next_in = (frame.number + 1) & 0xFF
                self._arrived.put_nowait(frame.payload)
            elif frame.number == (self._next_in - 1) & 0xFF and self._arrived.empty():
                self._tell(Kind.ACK, frame.number)

    def drop(self) -> None:
        """The board has it no more."""
        self._over = True
        self._task.cancel()

    async def dropped(self) -> None:
        """Returns when its socket is closed."""
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        why = "closed by the board"
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(*self.address), CONNECT_S)
            try:
                self._opened = True
                self._tell(Kind.OPENED)
                why = await self._serve(reader, writer)
                self._tell(Kind.CLOSE)
            finally:
                writer.close()
        except (OSError, UnicodeError) as error:
            number = error.errno if isinstance(error, OSError) else None  # asyncio says the address again
            why = os.strerror(number) if number and number > 0 else str(error) or f"no answer in {CONNECT_S:.0f} s"
            self._tell(Kind.CLOSE, 0, why.encode()[:REASON])
        finally:
            self._ended(self, why)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """Both directions, until the network ends it; why it ended."""
        rising = asyncio.get_running_loop().create_task(self._rise(writer))
        try:
            return await self._sink(reader)
        finally:
            rising.cancel()
            await asyncio.gather(rising, return_exceptions=True)

    async def _sink(self, reader: asyncio.StreamReader) -> str:
        """From the network to the board, until the network ends it."""
        while data := await reader.read(MOST):
            self._taken.clear()
            wait = AGAIN_S
            while not self._taken.is_set():
                self._tell(Kind.DATA, self._next_out, data)
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._taken.wait(), wait)
                wait = min(wait * 2, AGAIN_MOST_S)
            self._next_out = (self._next_out + 1) & 0xFF
            self.down += len(data)
        return "closed by the other side"

    async def _rise(self, writer: asyncio.StreamWriter) -> None:
        """From the board to the network."""
        with contextlib.suppress(OSError):  # reading ends with the same, and says so
            while True:
                data = await self._arrived.get()
                writer.write(data)
                await writer.drain()
                self.up += len(data)
                self._tell(Kind.ACK, (self._next_in - 1) & 0xFF)

    def _tell(self, kind: Kind, number: int = 0, payload: bytes = b"") -> None:
        if not self._over:
            self._send(kind, self.number, number, payload)
