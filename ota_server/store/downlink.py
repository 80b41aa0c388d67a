"""What a device is to hear, as a resource that it reads or observes itself (CoAP). The MQTT worker pushes the same from
`devices`, `data`, `trusts` and `commands`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from ota_server.store.commands import waiting
from ota_server.store.models import Command, DataTarget, Device, DeviceData, Target, TrustUpdate, now_ms
from ota_server.store.trust_updates import newest_version

_CHUNK = 500  # device ids in one statement


def offer(session: Session, device_id: str) -> bytes:
    """The envelope of the release the device should run; empty without one. Trust updates go first."""
    wanted = (
        select(Target.envelope)
        .join(Device, Device.offer_id == Target.id)
        .where(Device.id == device_id, func.coalesce(Device.trust_version, 0) >= newest_version(session))
    )
    return session.scalar(wanted) or b""


def data_offer(session: Session, device_id: str, name: str) -> bytes:
    """The envelope of what the device's data component `name` should hold."""
    wanted = (
        select(DataTarget.envelope)
        .join(DeviceData, DeviceData.offer_id == DataTarget.id)
        .join(Device, Device.id == DeviceData.device_id)
        .where(
            DeviceData.device_id == device_id,
            DeviceData.name == name,
            func.coalesce(Device.trust_version, 0) >= newest_version(session),
        )
    )
    return session.scalar(wanted) or b""


def trust_update(session: Session, device_id: str) -> bytes:
    """The update that follows the trust store the device has."""
    wanted = select(TrustUpdate.document).join(Device, TrustUpdate.version == Device.trust_version + 1)
    return session.scalar(wanted.where(Device.id == device_id)) or b""


def waiting_commands(session: Session, device_id: str) -> list[int]:
    """Rows of the commands that wait for a device, oldest first."""
    wanted = select(Command.id).where(Command.device_id == device_id, waiting(now_ms()))
    return list(session.scalars(wanted.order_by(Command.id)))


class Standing(NamedTuple):
    """What decides what a device is to hear; when it changes, those that observe it are told."""

    trust: int
    newest_trust: int
    offer: int | None
    data: tuple[tuple[str, int | None], ...]
    command: int | None  # the oldest that waits


def standings(session: Session, device_ids: Iterable[str]) -> dict[str, Standing]:
    """Of several devices at once."""
    out: dict[str, Standing] = {}
    ids, now, newest = sorted(device_ids), now_ms(), newest_version(session)
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        data: dict[str, list[tuple[str, int | None]]] = {}
        held = select(DeviceData.device_id, DeviceData.name, DeviceData.offer_id)
        for device_id, name, target in session.execute(held.where(DeviceData.device_id.in_(chunk))).all():
            data.setdefault(device_id, []).append((name, target))
        oldest = select(Command.device_id, func.min(Command.id)).where(waiting(now), Command.device_id.in_(chunk))
        commands = {row[0]: row[1] for row in session.execute(oldest.group_by(Command.device_id)).all()}
        devices = select(Device.id, Device.trust_version, Device.offer_id).where(Device.id.in_(chunk))
        for device_id, trust, target in session.execute(devices).all():
            about = tuple(sorted(data.get(device_id, ())))
            out[device_id] = Standing(trust or 0, newest, target, about, commands.get(device_id))
    return out


def gone(session: Session, device_id: str) -> None:
    """A device that does not answer any more is not there."""
    session.execute(update(Device).where(Device.id == device_id, Device.protocol == "coap").values(online=False))


def silent(session: Session, since: int) -> int:
    """Of devices that speak CoAP nothing tells that they went but silence; returns how many were noted as gone."""
    quiet = (Device.protocol == "coap") & Device.online & (Device.last_seen_at < since)
    return session.execute(update(Device).where(quiet).values(online=False)).rowcount  # type: ignore[attr-defined]
