"""Whether a device is still the one board that it was: what its births tell (docs/enrolment.md)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import update
from sqlalchemy.orm import Session

from ota_server.store import alarms
from ota_server.store.models import Claim, Device, now_ms

_PAST = 8  # nonces remembered
# A broker may hand us two births of two boots twice, in order, when our connection to it breaks: one return of each is
# no proof.
_RETURNS = 2
_CHUNK = 400  # ids in one statement


def on_birth(session: Session, device: Device, nonce: str, hardware: str | None) -> None:
    """Check a live birth for clones, before the device's row is updated from it.

    A board makes a nonce at every boot, so an old one that comes back is of another board that is still running.
    """
    if hardware is not None and device.hardware is None:
        device.hardware = hardware
    elif hardware is not None and hardware != device.hardware:
        _cloned(session, device, "other-hardware", f"its hardware was {device.hardware}, and now is {hardware}")
    past = device.past_nonces.split()
    if device.nonce is not None and nonce != device.nonce:
        if past.count(nonce) >= _RETURNS:
            _cloned(session, device, "two-boards", f"the boots {nonce} and {device.nonce} take turns: two boards run")
        device.past_nonces = " ".join([device.nonce, *past][:_PAST])


def arrived(session: Session, device_ids: Sequence[str]) -> None:
    """Devices have said a birth: their credentials have arrived, and from now on a lost answer is not repeated."""
    for start in range(0, len(device_ids), _CHUNK):
        mine = Claim.used_by.in_(device_ids[start : start + _CHUNK]) & Claim.seen_at.is_(None)
        session.execute(update(Claim).where(mine).values(seen_at=now_ms()))


def begin(device: Device, hardware: str | None) -> None:
    """It has new credentials: what was known of the board that had the old ones says nothing any more."""
    device.hardware, device.past_nonces, device.cloned_at = hardware, "", None


def _cloned(session: Session, device: Device, reason: str, detail: str) -> None:
    device.cloned_at = now_ms()
    alarms.raise_server_alarm(session, device.id, "cloned", reason, detail)
