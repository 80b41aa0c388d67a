"""How an offer stands with a device: the rule, for images and for data components.

waiting   the broker does not have it yet
offered   the device can read it
running   the device has it, and confirmed it
retrying  the device failed at it for a reason that may pass, and tries it again by itself
failed    the device refused it, failed at it or rolled it back, and does not try it again by itself
          (docs/reports.md says what helps)
"""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import BigInteger, ColumnElement, case, cast, func

from ota_server.store.models import Device, DeviceData, Release, Target

State = Literal["waiting", "offered", "running", "retrying", "failed"]


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
    if said_again(holder, sequence):
        return "retrying"
    return "offered" if holder.offer_sent_id == holder.offer_id else "waiting"


def joined(statement: Any) -> Any:
    """A statement over `device` with the offer that `image_state` looks at beside it: its target and its release."""
    return statement.outerjoin(Target, Target.id == Device.offer_id).outerjoin(Release, Release.id == Target.release_id)


def image_state(digest: Any, sequence: Any) -> ColumnElement[str]:
    """`of_image` as an expression over `device`, for a device whose offer has this digest and sequence number.

    The database then counts a fleet of any size, or shows those in trouble first.
    """
    runs = Device.trial.is_(False) & ((Device.digest == digest) | (func.coalesce(Device.sequence, 0) >= sequence))
    said = cast(Device.update["sequence"].as_string(), BigInteger) == sequence
    return case(
        (runs, "running"),
        (func.coalesce(Device.failed_sequence, 0) >= sequence, "failed"),
        (said & (cast(Device.update["again_s"].as_string(), BigInteger) > 0), "retrying"),
        (Device.offer_sent_id == Device.offer_id, "offered"),
        else_="waiting",
    )


def said_again(holder: Device | DeviceData, sequence: int) -> bool:
    """Whether the last the device said of this offer is that it failed and will be tried again."""
    said = holder.update or {}
    return said.get("sequence") == sequence and bool(said.get("again_s"))


def why(holder: Device | DeviceData, state: str | None) -> str | None:
    """What the device said, of an offer that failed or that it tries again."""
    said = holder.update or {}
    return said.get("detail") or said.get("phase") if state in ("failed", "retrying") else None
