"""Trust updates as a simulated board takes them: one version after the other, verified where the run names a store."""

from __future__ import annotations

from tidegate.errors import Refused
from tidegate.simulate.device import Device
from tidegate.wire import messages

_TEXT = 100  # characters of a detail


class Trusting:
    """The trust store of one device. It outlives resets."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._seen: bytes | None = None

    def pushed(self, document: bytes) -> None:
        """An update came, perhaps once more; b"": it was taken back."""
        device = self._device
        if document == self._seen:
            return
        self._seen = document or None
        if not document:
            return
        try:
            version = device.place.offers.trust_version(document, device.trust_version)
        except Refused as refusal:
            device.figures.counts["trust refused"] += 1
            alarm = messages.encode(
                "alarm", kind="trust-refused", reason=refusal.reason, detail=refusal.message[:_TEXT]
            )
            device.say("alarm", "alarm", alarm)
            return
        if version != device.trust_version:
            device.trust_version = version
            device.figures.counts["trust taken"] += 1
            device.announce()
