"""How an offer stands with a device: the rule, for images and for data components.

waiting   the broker does not have it yet
offered   the device can read it
running   the device has it, and confirmed it
failed    the device refused it, failed at it or rolled it back: it needs a newer release
"""

from __future__ import annotations

from typing import Literal

from ota_server.store.models import Device, DeviceData

State = Literal["waiting", "offered", "running", "failed"]


def of_image(device: Device) -> State | None:
    """The state of the release that the device is offered; None without an offer."""
    if device.offer is None:
        return None
    return _state(device, device.offer.release.sequence, device.offer.image_digest, running=not device.trial)


def of_data(row: DeviceData) -> State | None:
    """The state of what the device is offered for one of its data components; None without an offer."""
    return None if row.offer is None else _state(row, row.offer.sequence, row.offer.digest, running=True)


def _state(holder: Device | DeviceData, sequence: int, digest: str, *, running: bool) -> State:
    """`running` is false while the device only tries what it has installed."""
    # An old image under a new number may be what the device runs already: then the number it runs under is lower.
    if running and (holder.digest == digest or (holder.sequence or 0) >= sequence):
        return "running"
    if (holder.failed_sequence or 0) >= sequence:
        return "failed"
    return "offered" if holder.offer_sent_id == holder.offer_id else "waiting"
