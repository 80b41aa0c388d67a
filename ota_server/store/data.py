"""Data components: what was published for which board, and what each device holds and is offered."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, joinedload

from ota_server.store.models import DataTarget, Device, DeviceData
from ota_server.store.trust_updates import newest_version


def newest(session: Session, product: str, board: str, name: str) -> DataTarget | None:
    wanted = select(DataTarget).where(DataTarget.product == product, DataTarget.board == board, DataTarget.name == name)
    return session.scalar(wanted.order_by(DataTarget.sequence.desc()).limit(1))


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
    wanted = select(Device.id).where(fits, Device.revoked_at.is_(None))
    devices = list(session.scalars(wanted))
    for device_id in devices:
        _row(session, device_id, target.name).offer_id = target.id
    return len(devices)


def unsent(session: Session, limit: int) -> list[tuple[str, str, int, bytes]]:
    """(device id, name, target id, envelope) of offers the broker has not taken yet; trust updates go first."""
    wanted = (
        select(DeviceData.device_id, DeviceData.name, DataTarget.id, DataTarget.envelope)
        .join(DataTarget, DeviceData.offer_id == DataTarget.id)
        .join(Device, Device.id == DeviceData.device_id)
        .where(
            DeviceData.offer_id.is_distinct_from(DeviceData.offer_sent_id),
            func.coalesce(Device.trust_version, 0) >= newest_version(session),
            Device.revoked_at.is_(None),
        )
        .order_by(DeviceData.device_id, DeviceData.name)
        .limit(limit)
    )
    return [(row[0], row[1], row[2], row[3]) for row in session.execute(wanted)]


def withdrawn(session: Session, limit: int) -> list[tuple[str, str]]:
    """(device id, name) of retained offers that must go."""
    wanted = select(DeviceData.device_id, DeviceData.name).where(
        DeviceData.offer_id.is_(None), DeviceData.offer_sent_id.is_not(None)
    )
    found = session.execute(wanted.order_by(DeviceData.device_id, DeviceData.name).limit(limit))
    return [(row[0], row[1]) for row in found]


def sent(session: Session, device_id: str, name: str, target_id: int | None) -> None:
    session.execute(
        update(DeviceData)
        .where(DeviceData.device_id == device_id, DeviceData.name == name)
        .values(offer_sent_id=target_id)
    )


def forget_sent(session: Session) -> None:
    """After the broker lost its retained messages."""
    session.execute(update(DeviceData).values(offer_sent_id=None))


def of_device(session: Session, device_id: str) -> list[DeviceData]:
    """By name, with their offers."""
    wanted = select(DeviceData).where(DeviceData.device_id == device_id).order_by(DeviceData.name)
    return list(session.scalars(wanted.options(joinedload(DeviceData.offer))))


def born(session: Session, device: Device, held: dict[str, Any]) -> None:
    """Note what a device's birth says it holds; what is published and newer is offered once more."""
    names = select(DataTarget.name).where(DataTarget.product == device.product, DataTarget.board == device.board)
    known = {row.name for row in of_device(session, device.id)}
    for name in known | set(held) | set(session.scalars(names.distinct())):
        row = _row(session, device.id, name)
        said = held.get(name, {})
        row.sequence, row.digest = said.get("sequence"), said.get("digest")
        target = newest_offer(session, device.product, device.board, name)
        row.offer_id = target.id if target is not None else None
        if target is not None and target.sequence > max(row.sequence or 0, row.failed_sequence or 0):
            row.offer_sent_id = None


def reported(session: Session, device_id: str, name: str, told: dict[str, Any], failed: bool) -> None:
    """Note the last report about a component."""
    row = _row(session, device_id, name)
    row.update = told
    if failed:
        row.failed_sequence = max(told["sequence"], row.failed_sequence or 0)


def _row(session: Session, device_id: str, name: str) -> DeviceData:
    row = session.get(DeviceData, (device_id, name))
    if row is None:
        row = DeviceData(device_id=device_id, name=name)
        session.add(row)
    return row
