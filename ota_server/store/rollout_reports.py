"""What rollouts in waves have granted to the devices of a batch, and what the devices say about it.

The rows of all devices of a batch are read at once; nothing here waits for another device or for a rollout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from ota_server.store import clock, phases
from ota_server.store.models import Device, RolloutDevice, Target
from tidegate.wire.messages import WAITING

_STATES = {
    "offered": "downloading",  # the manifest is verified, and taken
    "fetching": "downloading",
    "applying": "downloading",
    "waiting": "downloading",  # installed; the application says when the device may restart
    "installed": "installed",
    "trial": "trial",
    "confirmed": "confirmed",
    "current": "confirmed",
    "rolled-back": "rolled-back",
    "refused": "refused",
    "failed": "failed",
}


class Granted(NamedTuple):
    """A row, and what it grants; the target has its release."""

    row: RolloutDevice
    target: Target


def granted(session: Session, device_ids: Sequence[str]) -> dict[str, list[Granted]]:
    """What each of these devices was ever granted; none for most."""
    found: dict[str, list[Granted]] = {}
    statement = select(RolloutDevice, Target).join(Target, Target.id == RolloutDevice.target_id)
    statement = statement.where(RolloutDevice.device_id.in_(device_ids)).options(joinedload(Target.release))
    for row, target in session.execute(statement):
        found.setdefault(row.device_id, []).append(Granted(row, target))
    return found


def better(grants: Sequence[Granted], device: Device, target: Target | None) -> Target | None:
    """The newest standing grant that is newer than `target` and not older than what the device runs, or `target`.

    `grants.offer` says the same to the database.
    """
    for row, other in grants:
        stands = row.withdrawn_at is None and not other.withdrawn
        newer = target is None or other.release.sequence > target.release.sequence
        if stands and newer and other.release.sequence >= (device.sequence or 0):
            target = other
    return target


def on_report(
    grants: Sequence[Granted], sequence: int, phase: str, detail: str | None, again_s: int | None, now: int
) -> None:
    """A report about the image with this sequence number. `again_s`: it tries the same again, or goes on,
    by itself; `now` in ms."""
    state, why = _STATES.get(phase), detail
    if state in phases.FAILED and again_s is not None:
        state, why = "downloading", f"tries again within {again_s} s: {detail or phase}"
    if phase == "waiting":
        until = "" if again_s is None else f", until {clock.to_the_minute(now + 1000 * again_s)} at the latest"
        why = f"{WAITING} since {clock.to_the_minute(now)}{until}"
    for row, target in grants:
        if state is not None and target.release.sequence == sequence:
            _note(row, state, why, now)
        elif state is not None and _is_before(row, target, sequence):
            failed = state in phases.FAILED
            about = f"at sequence {sequence}, which comes before it"
            _note(row, "failed" if failed else "downloading", f"{phase} {about}" + (f": {why}" if why else ""), now)


def _is_before(row: RolloutDevice, target: Target, sequence: int) -> bool:
    """Whether the release of this number is on the device's way to what the row grants, which needs one."""
    under_way = row.withdrawn_at is None and row.state in ("offered", "downloading")
    return under_way and 0 < target.needs_sequence <= sequence < target.release.sequence


def on_birth(grants: Sequence[Granted], device: Device, now: int) -> None:
    """The device says what it runs. Its row has that already."""
    for row, target in grants:
        sequence = target.release.sequence
        older = (device.sequence or 0) < sequence
        if device.sequence == sequence or (older and device.digest == target.image_digest):
            _note(row, "trial" if device.trial else "confirmed", None, now)
        elif row.withdrawn_at is None and row.reached_at is None:
            row.reached_at = now


def _note(row: RolloutDevice, state: str, why: str | None, now: int) -> None:
    row.withdrawn_at = None  # who has it keeps it
    if row.reached_at is None:
        row.reached_at = now
    if row.state != state:
        row.state, row.state_at = state, now
    row.why = why and why[:256]
