"""Data components: what was published for which board, and what each device holds and is offered.

A device is offered the newest content that was published to all, or a newer one that a rollout in waves has granted to
it; never one that is older than what it holds, because it would refuse it. Groups and channels play a part only in
whom a rollout selects.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from ota_server.store.models import DataTarget, Device, DeviceData, RolloutDevice

_CHUNK = 500  # device ids in one statement


def newest(session: Session, product: str, board: str, name: str) -> DataTarget | None:
    statement = select(DataTarget).where(
        DataTarget.product == product, DataTarget.board == board, DataTarget.name == name
    )
    return session.scalar(statement.order_by(DataTarget.sequence.desc()).limit(1))


def newest_offer(session: Session, product: str, board: str, name: str) -> DataTarget | None:
    """What all devices of this product and board should hold; None also when the newest was withdrawn."""
    statement = select(DataTarget).where(
        DataTarget.product == product,
        DataTarget.board == board,
        DataTarget.name == name,
        DataTarget.held.is_(False),
    )
    target = session.scalar(statement.order_by(DataTarget.sequence.desc()).limit(1))
    return None if target is None or target.withdrawn else target


def of_number(session: Session, product: str, name: str, sequence: int) -> list[DataTarget]:
    """What was published under this sequence number, by board."""
    statement = select(DataTarget).where(
        DataTarget.product == product, DataTarget.name == name, DataTarget.sequence == sequence
    )
    return list(session.scalars(statement.order_by(DataTarget.board)))


def by_version(session: Session, product: str, name: str, version: str) -> list[DataTarget]:
    """The newest of this version, by board."""
    statement = select(DataTarget.sequence).where(
        DataTarget.product == product, DataTarget.name == name, DataTarget.version == version
    )
    sequence = session.scalar(statement.order_by(DataTarget.sequence.desc()).limit(1))
    return [] if sequence is None else of_number(session, product, name, sequence)


def listed(session: Session, limit: int) -> list[DataTarget]:
    """Newest first."""
    return list(session.scalars(select(DataTarget).order_by(DataTarget.id.desc()).limit(limit)))


def choose(to_all: DataTarget | None, granted: Iterable[DataTarget], holds: int | None) -> DataTarget | None:
    """What to offer for one component. `granted`: by rollouts, and not withdrawn since; holds: its sequence number."""
    known = [target for target in (to_all, *granted) if target is not None and not target.withdrawn]
    best = max(known, key=lambda target: target.sequence, default=None)
    return None if best is None or best.sequence < (holds or 0) else best


def derive(session: Session, device_ids: Sequence[str], name: str) -> int:
    """Derive again what these devices are offered for the component; how many are offered another content."""
    changed = 0
    to_all: dict[tuple[str, str], DataTarget | None] = {}
    for start in range(0, len(device_ids), _CHUNK):
        chunk = device_ids[start : start + _CHUNK]
        granted = _granted(session, chunk, name)
        mine = select(DeviceData).where(DeviceData.device_id.in_(chunk), DeviceData.name == name)
        rows = {row.device_id: row for row in session.scalars(mine)}
        devices = select(Device.id, Device.product, Device.board).where(Device.id.in_(chunk))
        for device_id, product, board in session.execute(devices.where(Device.revoked_at.is_(None))).all():
            if (product, board) not in to_all:
                to_all[product, board] = newest_offer(session, product, board, name)
            row = rows.get(device_id)
            target = choose(to_all[product, board], granted.get(device_id, ()), None if row is None else row.sequence)
            wanted = None if target is None else target.id
            if row is None and wanted is not None:
                session.add(DeviceData(device_id=device_id, name=name, offer_id=wanted))
            elif row is not None and row.offer_id != wanted:
                if wanted is None:  # as sent: the broker may have it, also if a birth has requested it again since
                    row.offer_sent_id = row.offer_id
                row.offer_id = wanted
            else:
                continue
            changed += wanted is not None
    session.flush()
    return changed


def _granted(session: Session, device_ids: Sequence[str], name: str) -> dict[str, list[DataTarget]]:
    found: dict[str, list[DataTarget]] = {}
    statement = select(RolloutDevice.device_id, DataTarget).join(
        DataTarget, DataTarget.id == RolloutDevice.data_target_id
    )
    standing = RolloutDevice.withdrawn_at.is_(None) & RolloutDevice.device_id.in_(device_ids)
    for device_id, target in session.execute(statement.where(standing, DataTarget.name == name)):
        found.setdefault(device_id, []).append(target)
    return found


def offer_to_all(session: Session, target: DataTarget) -> int:
    """Offer `target`, which is not held back, to every device it fits; returns to how many it is new."""
    fits = (Device.product == target.product) & (Device.board == target.board)
    return derive(session, list(session.scalars(select(Device.id).where(fits).order_by(Device.id))), target.name)


def of_device(session: Session, device_id: str) -> list[DeviceData]:
    """By name, with their offers."""
    statement = select(DeviceData).where(DeviceData.device_id == device_id).order_by(DeviceData.name)
    return list(session.scalars(statement.options(joinedload(DeviceData.offer))))


def of_devices(session: Session, device_ids: Sequence[str]) -> dict[str, list[DeviceData]]:
    """Of several devices at once."""
    found: dict[str, list[DeviceData]] = {device_id: [] for device_id in device_ids}
    statement = select(DeviceData).where(DeviceData.device_id.in_(device_ids)).order_by(DeviceData.name)
    for row in session.scalars(statement.options(selectinload(DeviceData.offer).defer(DataTarget.envelope))):
        found[row.device_id].append(row)
    return found


def reported(session: Session, device_id: str, name: str, status: dict[str, Any], failed: bool, tries: bool) -> None:
    """Note the last report about a component. `failed`: for good; `tries`: it is at it, or will be again by itself."""
    row = _row(session, device_id, name)
    row.update = status
    if failed:
        row.failed_sequence = max(status["sequence"], row.failed_sequence or 0)
    elif tries and row.failed_sequence == status["sequence"]:
        row.failed_sequence = None


def _row(session: Session, device_id: str, name: str) -> DeviceData:
    row = session.get(DeviceData, (device_id, name))
    if row is None:
        row = DeviceData(device_id=device_id, name=name)
        session.add(row)
    return row
