"""Data components: what was published for which board, and what each device holds and is offered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from ota_server.store.models import DataTarget, Device, DeviceData


def newest(session: Session, product: str, board: str, name: str) -> DataTarget | None:
    statement = select(DataTarget).where(
        DataTarget.product == product, DataTarget.board == board, DataTarget.name == name
    )
    return session.scalar(statement.order_by(DataTarget.sequence.desc()).limit(1))


def newest_offer(session: Session, product: str, board: str, name: str) -> DataTarget | None:
    """What a device of this product and board should hold; None also when the newest was withdrawn."""
    target = newest(session, product, board, name)
    return None if target is None or target.withdrawn else target


def listed(session: Session, limit: int) -> list[DataTarget]:
    """Newest first."""
    return list(session.scalars(select(DataTarget).order_by(DataTarget.id.desc()).limit(limit)))


def offer_to_all(session: Session, target: DataTarget) -> int:
    """Make `target` what every device it fits is offered under its name; returns how many."""
    fits = (Device.product == target.product) & (Device.board == target.board)
    statement = select(Device.id).where(fits, Device.revoked_at.is_(None))
    devices = list(session.scalars(statement))
    for device_id in devices:
        _row(session, device_id, target.name).offer_id = target.id
    return len(devices)


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
