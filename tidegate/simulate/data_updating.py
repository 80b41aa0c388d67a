"""The update of a simulated board's data component: decide, fetch, show it to the application, take or refuse it."""

from __future__ import annotations

import asyncio

from tidegate.errors import Refused
from tidegate.simulate import fetching, http
from tidegate.simulate.device import Device
from tidegate.simulate.mqtt import LinkError
from tidegate.simulate.offers import DataOffer
from tidegate.simulate.reporting import Failure, report
from tidegate.wire import messages

OFFER = "offer/"  # and the component's name, below down/
_REJECTED = (19, "operation-failed", "the application refused it")
_HUNG = (19, "operation-failed", "no answer in 3 attempts")
_NOT_FETCHED = (14, "operation-failed")


class DataUpdating:
    """Offers for the component that this device's application knows. What it holds outlives resets."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._floor = 0  # sequence number of the last content that came to an end
        self._answered: bytes | None = None
        self._task: asyncio.Task[None] | None = None

    def offered(self, envelope: bytes) -> None:
        """An offer came, perhaps once more; b"": it was taken back."""
        if not envelope:
            self._answered = None
        elif envelope != self._answered:
            self._answered = envelope
            if self._task is not None:
                self._task.cancel()
            self._task = asyncio.create_task(self._run(envelope))

    async def _run(self, envelope: bytes) -> None:
        device = self._device
        try:
            offer = device.place.offers.read_data(envelope)
        except Refused as refusal:
            device.figures.counts["data refused"] += 1
            report(device, "refused", failure=(2, "cbor-parse", refusal.message[:100]), component=device.component)
            return
        try:
            await self._take(offer)
        except (OSError, TimeoutError, http.HttpError, LinkError) as error:
            device.figures.counts["data failed"] += 1
            device.figures.errors[f"data: {str(error) or type(error).__name__}"[:80]] += 1

    async def _take(self, offer: DataOffer) -> None:
        device, new = self._device, offer.manifest
        held = device.data.get(new.name)
        if held is not None and held[1] == new.digest:
            device.data[new.name] = (max(held[0], new.sequence), new.digest)
            self._report("current", offer)
            return
        if new.sequence <= self._floor:
            device.figures.counts["data refused"] += 1
            older = f"sequence {new.sequence} is not newer than {self._floor}"
            self._report("refused", offer, failure=(6, "condition-failed", older))
            return
        self._report("offered", offer, detail=f"data {new.name}")
        self._report("fetching", offer)
        try:
            await fetching.fetch(device, new.digest, new.size)
        except fetching.NotFetched as error:
            self._report("failed", offer, failure=(*_NOT_FETCHED, str(error)))
            raise
        self._report("applying", offer)
        await asyncio.sleep(device.place.scenario.update.apply_s)
        self._floor = new.sequence
        if device.nature.fault == "hangs":
            device.hang()
            await asyncio.sleep(device.place.scenario.update.hang_s)
            device.restart(device.place.scenario.update.restart_s, "watchdog")
            self._refuse(offer, _HUNG)
        elif device.nature.fault == "rolls_back":
            self._refuse(offer, _REJECTED)
        else:
            device.data[new.name] = (new.sequence, new.digest)
            device.updated()
            self._report("confirmed", offer)
            device.figures.counts["data confirmed"] += 1

    def _refuse(self, offer: DataOffer, failure: Failure) -> None:
        """The application keeps the old content."""
        device = self._device
        self._report("rolled-back", offer, failure=failure)
        detail = f"{offer.manifest.name}: {failure[2]}"
        device.say("alarm", "alarm", messages.encode("alarm", kind="data-refused", reason="rejected", detail=detail))
        device.figures.counts["data rolled back"] += 1

    def _report(self, phase: str, offer: DataOffer, detail: str | None = None, failure: Failure | None = None) -> None:
        new = offer.manifest
        report(
            self._device,
            phase,
            digest=offer.digest,
            sequence=new.sequence,
            detail=detail,
            failure=failure,
            component=new.name,
        )
