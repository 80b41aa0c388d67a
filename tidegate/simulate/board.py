"""The life of one simulated board: it connects, announces itself, stays, and comes back, with what may go wrong."""

from __future__ import annotations

import asyncio
import time

from tidegate.simulate import nature as natures
from tidegate.simulate.answering import Answering
from tidegate.simulate.data_updating import OFFER, DataUpdating
from tidegate.simulate.device import Device
from tidegate.simulate.mqtt import KEEPALIVE_S, Link, LinkError, connect_packet
from tidegate.simulate.trusting import Trusting
from tidegate.simulate.updating import Updating
from tidegate.wire import messages

_CONNECT_S = 60
_BACKOFF_S = (1, 2, 4, 8, 16, 30)  # between attempts to connect, and up to a half more


class Board:
    """Runs a device: `connect` starts it, and it comes back until the process ends."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._task: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()  # this connection
        self._updating = Updating(device)
        # What it hears below down/, and who takes it.
        self._ears = {
            "trust": Trusting(device).pushed,
            "offer": self._updating.offered,
            "cmd": Answering(device).asked,
        }
        if device.component is not None:  # an application hears of what it knows
            self._ears[OFFER + device.component] = DataUpdating(device).offered

    def connect(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._live(), name=self.device.id)

    # ------------------------------------------------------------ mqtt.Listener

    def message(self, topic: str, payload: bytes) -> None:
        kind = topic.partition("/down/")[2]
        self.device.figures.counts[f"{kind} heard"] += 1
        hear = self._ears.get(kind)
        if hear is not None:
            hear(payload)

    def acknowledged(self, number: int) -> None:
        self.device.acknowledged(number)

    def lost(self, reason: str) -> None:
        self._ended.set()

    # ------------------------------------------------------------ one connection after the other

    async def _live(self) -> None:
        device, failed = self.device, 0
        while True:
            await asyncio.sleep(max(0.0, device.off_until - time.monotonic()))
            try:
                await self._session()
                failed = 0
            except (OSError, LinkError, TimeoutError) as error:
                device.figures.errors[f"connect: {str(error) or type(error).__name__}"[:80]] += 1
            finally:
                self._leave()
            if time.monotonic() >= device.off_until:
                await asyncio.sleep(_BACKOFF_S[min(failed, len(_BACKOFF_S) - 1)] * (1 + device.dice.random() / 2))
                failed += 1

    async def _session(self) -> None:
        device, place = self.device, self.device.place
        began = time.monotonic()
        will = messages.encode("state", online=False)
        first = connect_packet(device.id, device.account.password, f"tg/{device.id}/up/state", will)
        self._ended = asyncio.Event()
        link = Link(first, self, natures.conditions(place.scenario, device.nature))
        async with asyncio.timeout(_CONNECT_S):
            host, port = place.broker
            await asyncio.get_running_loop().create_connection(lambda: link, host, port, ssl=place.broker_tls)
            device.link = link
            await link.ready
            device.figures.took("connected", time.monotonic() - began)
            down = f"tg/{device.id}/down/"
            await link.subscribe(*(down + kind for kind in self._ears))
        device.outbox.link = link
        device.figures.counts["connections"] += 1
        device.announce()
        self._updating.connected()
        if device.nature.fault == "silent":
            await self._fall_silent()
        await self._stay(link)

    async def _stay(self, link: Link) -> None:
        """Until the connection ends: the birth is signed when it is time, and a bad link breaks."""
        device, now = self.device, time.monotonic()
        sign_at = now + device.place.scenario.fleet.sign_s if device.proof is None else None
        breaks_at = None
        if device.nature.fault == "bad_link":
            breaks_at = now + device.place.scenario.bad_link.breaks_every_s * (0.5 + device.dice.random())
        while not self._ended.is_set():
            due = min(at for at in (sign_at, breaks_at, time.monotonic() + KEEPALIVE_S) if at is not None)
            try:
                async with asyncio.timeout(max(0.0, due - time.monotonic())):
                    await self._ended.wait()
            except TimeoutError:
                now = time.monotonic()
                if sign_at is not None and now >= sign_at:
                    sign_at = None
                    device.sign()
                if breaks_at is not None and now >= breaks_at:
                    device.figures.counts["links broken"] += 1
                    return

    async def _fall_silent(self) -> None:
        """Signed and announced, it says and hears nothing from now on; the broker finds out by its keepalive."""
        self.device.sign()
        while len(self.device.outbox) and not self._ended.is_set():
            await asyncio.sleep(0.05)
        self.device.hang()
        self.device.figures.counts["fell silent"] += 1

    def _leave(self) -> None:
        if self.device.link is not None:
            self.device.link.abort()
        self.device.link = None
        self.device.outbox.unlink()
        self._updating.disconnected()
