"""The update of a simulated board: decide, fetch, apply, restart into the trial, confirm or roll back."""

from __future__ import annotations

import asyncio
import hashlib

from tidegate.errors import Refused
from tidegate.simulate import http
from tidegate.simulate.device import Device
from tidegate.simulate.images import Running
from tidegate.simulate.mqtt import LinkError
from tidegate.simulate.offers import Offer
from tidegate.wire import messages

# phase -> state and result of LwM2M object 5 that a board says with it (docs/reports.md)
_LWM2M = {
    "offered": ("downloading", "initial"),
    "fetching": ("downloading", "initial"),
    "applying": ("downloaded", "initial"),
    "installed": ("updating", "initial"),
    "trial": ("updating", "initial"),
    "confirmed": ("idle", "success"),
    "current": ("idle", "success"),
    "rolled-back": ("idle", "update-failed"),
    "refused": ("idle", "unsupported-package"),
    "failed": ("idle", "connection-lost"),
}
_TIMEOUT = (32 + 3, "condition-failed", "the application is not healthy within the trial")
_WATCHDOG = (32 + 1, "operation-failed", "it hung: the watchdog reset the board in its last attempt")
_FETCHES = 8  # attempts
_PAUSE_S = (1, 2, 4, 8, 16, 30)
_GONE = 404
_PARTIAL, _WHOLE = 206, 200


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
        await self._fetch(digest, size)
        device.figures.took("payload fetched", asyncio.get_running_loop().time() - began)
        self._report("applying", offer, detail=what)
        await asyncio.sleep(device.place.scenario.update.apply_s)
        installed = asyncio.Event()
        self._report("installed", offer, done=installed)
        await installed.wait()
        await self._restart(offer)
        device.figures.took("update", asyncio.get_running_loop().time() - began)

    # ------------------------------------------------------------ fetching

    async def _fetch(self, digest: bytes, size: int) -> None:
        """The payload, with Range from where it was cut off; its digest is checked."""
        device, data, last = self._device, b"", "no attempt"
        for attempt in range(_FETCHES):
            cut = size // 2 if self._cut and not data else None
            self._cut = False
            device.figures.counts["fetches"] += 1
            try:
                answer = await http.get(device.place.payloads, f"/p/{digest.hex()}", len(data), cut)
            except (OSError, TimeoutError, http.HttpError) as error:
                last = str(error) or type(error).__name__
            else:
                if answer.status not in (_PARTIAL, _WHOLE):
                    last = f"status {answer.status}"
                    if answer.status == _GONE:
                        break
                else:
                    data = data + answer.body if answer.status == _PARTIAL else answer.body
                    device.figures.counts["bytes fetched"] += len(answer.body)
                    if len(data) >= size:
                        break
                    device.figures.counts["fetches cut off"] += 1
                    continue
            device.figures.errors[f"fetch: {last}"[:80]] += 1
            await asyncio.sleep(_PAUSE_S[min(attempt, len(_PAUSE_S) - 1)] * (0.5 + device.dice.random()))
        if hashlib.sha256(data).digest() != digest:
            self._report("failed", None, failure=(14, "operation-failed", last))
            raise http.HttpError(f"payload not fetched: {last}")

    # ------------------------------------------------------------ trial

    async def _restart(self, offer: Offer) -> None:
        device, before = self._device, self._device.running
        settings = device.place.scenario.update
        new = offer.manifest
        device.running = Running(new.version, new.sequence, new.image.digest)
        device.trial = True
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

    async def _roll_back(self, offer: Offer, before: Running, word: str, failure: tuple[int, str, str]) -> None:
        device = self._device
        device.running, device.trial = before, False
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
        failure: tuple[int, str, str] | None = None,
        done: asyncio.Event | None = None,
    ) -> None:
        """failure: code, SUIT's reason and words for people."""
        device = self._device
        state, result = _LWM2M[phase]
        numbers = [messages.LWM2M_STATES.index(state), messages.LWM2M_RESULTS.index(result)]
        device.update_state, device.update_result = numbers
        verdict = True if failure is None else {5: failure[0], 7: messages.SUIT_REASONS.index(failure[1])}
        said = messages.encode(
            "report",
            nonce=device.nonce,
            verdict=verdict,
            manifest=None if offer is None else [[-16, offer.digest]],
            lwm2m=numbers,
            phase=messages.phase_number(phase),
            sequence=0 if offer is None else offer.manifest.sequence,
            detail=detail or (failure[2] if failure else None),
        )
        device.figures.counts[f"reported {phase}"] += 1
        device.say("report", "report", said, done)
        if state == "idle":
            device.announce()
