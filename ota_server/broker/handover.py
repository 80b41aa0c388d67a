"""Hands what devices publish to the server, which says when it has it: only then is it acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from ota_server.broker.codec import Message

MAX_WAITING = 2000  # messages handed over that the server does not have yet; then the sockets are not read


class Uplink(Protocol):
    """Takes a message without waiting. again: its device sends it again. `done` is called in the broker's loop."""

    def __call__(self, message: Message, again: bool, done: Callable[[], None]) -> None: ...


class Handover:
    """Counts what was handed over and is not settled, so that neither memory nor a slow database is overrun."""

    def __init__(self, uplink: Uplink) -> None:
        self._uplink = uplink
        self._room = asyncio.Semaphore(MAX_WAITING)
        self.waiting = 0

    async def room(self, aborted: asyncio.Event) -> bool:
        """Wait for a place, in the order of asking; False if the connection ends first."""
        if not self._room.locked():
            await self._room.acquire()
            return True
        place, end = asyncio.ensure_future(self._room.acquire()), asyncio.ensure_future(aborted.wait())
        try:
            await asyncio.wait((place, end), return_when=asyncio.FIRST_COMPLETED)
        finally:
            end.cancel()
            if not place.done():
                place.cancel()
        return place.done() and not place.cancelled()

    def give(self, message: Message, again: bool, acknowledge: Callable[[], None]) -> None:
        """Hand over a message that `room` found a place for."""
        self._give(message, again, self._room.release, acknowledge)

    def give_last(self, message: Message) -> None:
        """Hand over a last will, which needs no place: there is one for each connection."""
        self._give(message, False)

    def _give(self, message: Message, again: bool, *then: Callable[[], None]) -> None:
        self.waiting += 1

        def done() -> None:
            self.waiting -= 1
            for one in then:
                one()

        self._uplink(message, again, done)


def settle(done: Iterable[Callable[[], None]]) -> None:
    """Call what was given as `done` with each message that the server has now."""
    for one in done:
        one()
