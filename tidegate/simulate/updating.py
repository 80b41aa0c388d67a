"""The update of a simulated board: decide, fetch, apply, restart into the trial, confirm or roll back."""

from __future__ import annotations

import asyncio

from tidegate.errors import Refused
from tidegate.simulate import fetching, http
from tidegate.simulate.device import Device
from tidegate.simulate.images import Running
from tidegate.simulate.mqtt import LinkError
from tidegate.simulate.offers import Offer
from tidegate.simulate.reporting import Failure, report
from tidegate.wire import messages

_TIMEOUT = (32 + 3, "condition-failed", "the application is not healthy within the trial")
_WATCHDOG = (32 + 1, "operation-failed", "it hung: the watchdog reset the board in its last attempt")


class Updating:
    """Offers of one device. What is under way outlives connections, as on a board's flash."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._task: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        self._answered: set[bytes] = set()  # envelopes that came to an end in this boot
        self._bad: set[bytes] = set()  # digests of images that were rolled back
        self._active: bytes | None = None
        self._cut = device.nature.interrupted

    def connected(self) -> None:
        self._connected.set()

    def disconnected(self) -> None:
        self._connected.clear()

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def offered(self, envelope: bytes) -> None:
        """An offer came, perhaps once more."""
        if not envelope or envelope == self._active or envelope in self._answered:
            return
        if self._task is not None and not self._task.done():
            if self._device.trial:
                return  # the retained offer comes again after it
            self._task.cancel()
        self._active = envelope
        self._task = asyncio.create_task(self._run(envelope))

    async def _run(self, envelope: bytes) -> None:
        device = self._device
        try:
            await self._decide(envelope)
        except Refused as refusal:
            device.figures.counts["refused"] += 1
            self._report("refused", None, failure=(2, "cbor-parse", refusal.message[:100]))
        except (OSError, TimeoutError, http.HttpError, LinkError) as error:
            device.figures.counts["failed"] += 1
            device.figures.errors[f"update: {str(error) or type(error).__name__}"[:80]] += 1
        self._answered.add(envelope)
        self._active = None

    async def _decide(self, envelope: bytes) -> None:
        device = self._device
        offer = device.place.offers.read(envelope)
        image = offer.manifest.image.digest
        if image == device.running.digest:
            self._report("current", offer)
            return
        if offer.manifest.sequence <= device.running.sequence:
            raise Refused("older", f"sequence {offer.manifest.sequence} is not above {device.running.sequence}")
        if image in self._bad:
            self._report("rolled-back", offer, failure=(8, "condition-failed", "it failed before"))
            return
        digest, size, what = offer.payload(device.running.digest)
        self._report("offered", offer, detail=what)
        self._report("fetching", offer)
        began = asyncio.get_running_loop().time()
        cut, self._cut = (size // 2 if self._cut else None), False
        try:
            await fetching.fetch(device, digest, size, cut)
        except fetching.NotFetched as error:
            self._report("failed", None, failure=(14, "operation-failed", str(error)))
            raise
        self._report("applying", offer, detail=what)
        await asyncio.sleep(device.place.scenario.update.apply_s)
        installed = asyncio.Event()
        self._report("installed", offer, done=installed)
        await installed.wait()
        await self._restart(offer)
        device.figures.took("update", asyncio.get_running_loop().time() - began)

    # ------------------------------------------------------------ trial

    async def _restart(self, offer: Offer) -> None:
        device, before = self._device, self._device.running
        settings = device.place.scenario.update
        new = offer.manifest
        device.running = Running(new.version, new.sequence, new.image.digest)
        device.trial = True
        device.updated()
        await self._reset(settings.restart_s, "soft")
        self._report("trial", offer)
        if device.nature.fault == "hangs":
            await self._hang(settings.hang_s)
            await self._roll_back(offer, before, "watchdog", _WATCHDOG)
        elif device.nature.fault == "rolls_back":
            await asyncio.sleep(settings.trial_s)
            await self._roll_back(offer, before, "timeout", _TIMEOUT)
        else:
            await asyncio.sleep(settings.trial_s)
            await self._round_trip()
            device.trial = False
            self._report("confirmed", offer)
            device.figures.counts["confirmed"] += 1

    async def _reset(self, seconds: float, cause: str) -> None:
        """Off for so long, and up again; returns when it is connected."""
        device = self._device
        self._answered.clear()
        self._connected.clear()
        device.restart(seconds, cause)
        await self._connected.wait()

    async def _hang(self, seconds: float) -> None:
        """Nothing is sent or taken any more, until the watchdog resets the device."""
        device = self._device
        device.hang()
        await asyncio.sleep(seconds)

    async def _round_trip(self) -> None:
        """The broker answers: what a trial has to prove. Over a new connection if this one ends."""
        while True:
            await self._connected.wait()
            link = self._device.link
            if link is None:
                await asyncio.sleep(0.1)
                continue
            try:
                await link.ping()
                return
            except LinkError:
                await asyncio.sleep(0.1)

    async def _roll_back(self, offer: Offer, before: Running, word: str, failure: Failure) -> None:
        device = self._device
        device.running, device.trial = before, False
        device.went_back()
        self._bad.add(offer.manifest.image.digest)
        await self._reset(device.place.scenario.update.restart_s, "watchdog" if word == "watchdog" else "soft")
        self._report("rolled-back", offer, failure=failure)
        alarm = messages.encode("alarm", kind="rolled-back", reason=word, detail=failure[2])
        device.say("alarm", "alarm", alarm)
        device.figures.counts["rolled back"] += 1

    # ------------------------------------------------------------ reports

    def _report(
        self,
        phase: str,
        offer: Offer | None,
        detail: str | None = None,
        failure: Failure | None = None,
        done: asyncio.Event | None = None,
    ) -> None:
        digest, sequence = (None, 0) if offer is None else (offer.digest, offer.manifest.sequence)
        report(self._device, phase, digest=digest, sequence=sequence, detail=detail, failure=failure, done=done)
