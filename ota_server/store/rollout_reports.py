"""What rollouts in waves have granted to the devices of a batch, and what the devices say about it.

The rows of all devices of a batch are read at once; nothing here waits for another device or for a rollout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session, defer, joinedload

from ota_server.store import clock, phases
from ota_server.store.models import DataTarget, Device, RolloutDevice, Target
from tidegate.wire.messages import WAITING

NO_DATA = "its application has no data components"
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
    """A row, and what it grants, if that is a release or data; a release's target has its release."""

    row: RolloutDevice
    target: Target | None
    data: DataTarget | None


def granted(session: Session, device_ids: Sequence[str]) -> dict[str, list[Granted]]:
    """What each of these devices was ever granted; none for most."""
    found: dict[str, list[Granted]] = {}
    statement = select(RolloutDevice, Target, DataTarget)
    statement = statement.outerjoin(Target, Target.id == RolloutDevice.target_id)
    statement = statement.outerjoin(DataTarget, DataTarget.id == RolloutDevice.data_target_id)
    statement = statement.where(RolloutDevice.device_id.in_(device_ids))
    for row, target, data in session.execute(statement.options(joinedload(Target.release), defer(DataTarget.envelope))):
        found.setdefault(row.device_id, []).append(Granted(row, target, data))
    return found


def better(grants: Sequence[Granted], device: Device, target: Target | None) -> Target | None:
    """The newest standing grant that is newer than `target` and not older than what the device runs, or `target`.

    `grants.offer` says the same to the database.
    """
    for row, other, _ in grants:
        if other is None:
            continue
        stands = row.withdrawn_at is None and not other.withdrawn
        newer = target is None or other.release.sequence > target.release.sequence
        if stands and newer and other.release.sequence >= (device.sequence or 0):
            target = other
    return target


def data(grants: Sequence[Granted]) -> dict[str, list[DataTarget]]:
    """The standing grants of data, by component."""
    found: dict[str, list[DataTarget]] = {}
    for row, _, target in grants:
        if target is not None and row.withdrawn_at is None:
            found.setdefault(target.name, []).append(target)
    return found


def trust(grants: Sequence[Granted]) -> int:
    """The newest trust store that is granted, 0 for none."""
    standing = (row.trust_version for row, _, _ in grants if row.withdrawn_at is None)
    return max((version for version in standing if version is not None), default=0)


def on_report(
    grants: Sequence[Granted], sequence: int, phase: str, detail: str | None, again_s: int | None, now: int
) -> None:
    """A report about the image with this sequence number. `again_s`: it tries the same again, or goes on,
    by itself; `now` in ms."""
    state, why = _state(phase, detail, again_s)
    if phase == "waiting":
        until = "" if again_s is None else f", until {clock.to_the_minute(now + 1000 * again_s)} at the latest"
        why = f"{WAITING} since {clock.to_the_minute(now)}{until}"
    for row, target, _ in grants:
        if target is None or state is None:
            continue
        if target.release.sequence == sequence:
            _note(row, state, why, now)
        elif _is_before(row, target, sequence):
            failed = state in phases.FAILED
            about = f"at sequence {sequence}, which comes before it"
            _note(row, "failed" if failed else "downloading", f"{phase} {about}" + (f": {why}" if why else ""), now)


def on_data_report(
    grants: Sequence[Granted], name: str, sequence: int, phase: str, detail: str | None, again_s: int | None, now: int
) -> bool:
    """The same about a data component; whether the device has taken an offer that was withdrawn, and keeps it."""
    state, why = _state(phase, detail, again_s)
    kept = False
    for row, _, target in grants:
        if state is not None and target is not None and (target.name, target.sequence) == (name, sequence):
            kept |= row.withdrawn_at is not None
            _note(row, state, why, now)
    return kept


def on_trust_refused(grants: Sequence[Granted], device: Device, why: str, now: int) -> None:
    """The device refused the update that follows its trust store: it gets no later one either."""
    for row, _, _ in grants:
        if row.withdrawn_at is None and (row.trust_version or 0) > (device.trust_version or 0):
            _note(row, "refused", why, now)


def _state(phase: str, detail: str | None, again_s: int | None) -> tuple[str | None, str | None]:
    """The state of a device that reports this, and why."""
    state = _STATES.get(phase)
    if state in phases.FAILED and again_s is not None:
        return "downloading", f"tries again within {again_s} s: {detail or phase}"
    return state, detail


def _is_before(row: RolloutDevice, target: Target, sequence: int) -> bool:
    """Whether the release of this number is on the device's way to what the row grants, which needs one."""
    under_way = row.withdrawn_at is None and row.state in ("offered", "downloading")
    return under_way and 0 < target.needs_sequence <= sequence < target.release.sequence


def on_birth(grants: Sequence[Granted], device: Device, held: Mapping[str, Any], now: int) -> None:
    """The device says what it runs. Its row has that already; `held`: what the birth says of its data components."""
    for row, target, data in grants:
        if target is not None:
            sequence = target.release.sequence
            older = (device.sequence or 0) < sequence
            has = device.sequence == sequence or (older and device.digest == target.image_digest)
        elif data is not None:
            said = held.get(data.name, {})
            older = (said.get("sequence") or 0) < data.sequence
            has = said.get("sequence") == data.sequence or (older and said.get("digest") == data.digest)
        else:
            has = (device.trust_version or 0) >= (row.trust_version or 0)
        if has:
            _note(row, "trial" if target is not None and device.trial else "confirmed", None, now)
        elif data is not None and _without_data(row, device, now):
            continue
        elif row.withdrawn_at is None and row.reached_at is None:
            row.reached_at = now


def _without_data(row: RolloutDevice, device: Device, now: int) -> bool:
    """Excuse a device whose application has no data components, so that nobody waits for it; once another application
    has some, it is offered the data as if it were granted now."""
    if device.takes_data is False and row.state in ("offered", "downloading"):
        row.state, row.state_at, row.why = "excused", now, NO_DATA
    elif device.takes_data and row.state == "excused":
        row.state, row.state_at, row.why = "offered", now, None
        row.granted_at = row.reached_at = now
    return row.state == "excused"


def _note(row: RolloutDevice, state: str, why: str | None, now: int) -> None:
    row.withdrawn_at = None  # who has it keeps it
    if row.reached_at is None:
        row.reached_at = now
    if row.state != state:
        row.state, row.state_at = state, now
    row.why = why and why[:256]
