"""Who observes what (RFC 7641)."""

from __future__ import annotations

import asyncio
import time

from aiocoap import Message

from ota_server.coap.blocks import Source

_MOST = 4096
_MOST_OF_ONE = 2  # of one resource: the second is that of a device that started again and has another port now
_NUMBERS = 1 << 24


class Observer:
    """One observation of one of a device's resources."""

    def __init__(self, device_id: str, what: str, address: str) -> None:
        self.device_id, self.what, self.address = device_id, what, address
        self.changed = asyncio.Event()
        self.replaced = False
        # The command that went last and the message id it went with, until that is acknowledged.
        self.sent: tuple[Source, int] | None = None
        self._last: tuple[bytes | None, bytes] | None = None

    def should_send(self, response: Message) -> bool:
        """Whether to send this notification: the first answer, or one that differs from the last.

        An empty answer after a command is not sent: the device has the command.
        """
        first, now = self._last is None, (response.opt.etag, response.payload)
        if now == self._last or (self.what == "cmd" and not first and not response.payload):
            return False
        self._last = now
        return True


class Observers:
    """All observations; bounded, the oldest go first."""

    def __init__(self) -> None:
        self._all: list[Observer] = []
        # Numbers rise for as long as a client remembers them, a restart of the server included (section 4.4).
        self._number = int(time.time() * 8)

    def number(self) -> int:
        self._number = (self._number + 1) % _NUMBERS
        return self._number

    def add(self, device_id: str, what: str, address: str) -> Observer:
        observer = Observer(device_id, what, address)
        same = [other for other in self._all if (other.device_id, other.what) == (device_id, what)]
        for other in (*same[: max(0, len(same) - _MOST_OF_ONE + 1)], *self._all[: max(0, len(self._all) - _MOST + 1)]):
            other.replaced = True
            other.changed.set()
            self.remove(other)
        self._all.append(observer)
        return observer

    def remove(self, observer: Observer) -> None:
        if observer in self._all:
            self._all.remove(observer)

    def devices(self) -> set[str]:
        return {observer.device_id for observer in self._all}

    def of_device(self, device_id: str) -> list[Observer]:
        return [observer for observer in self._all if observer.device_id == device_id]

    def at(self, address: str) -> list[Observer]:
        return [observer for observer in self._all if observer.address == address]
