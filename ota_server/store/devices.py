"""Devices: who they are, what they last said, what they should be offered."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session, joinedload, selectinload

from ota_server.store import commands, groups, offers, steps
from ota_server.store.models import Command, Device, DeviceData, Target, now_ms

AT_ONCE = 500  # ids in one statement


def get(session: Session, device_id: str) -> Device | None:
    return session.get(Device, device_id, options=[joinedload(Device.offer).joinedload(Target.release)])


def names(session: Session, ids: Collection[str]) -> dict[str, str]:
    """The names of those devices that have one, by id."""
    rows = session.execute(select(Device.id, Device.name).where(Device.id.in_(ids)))
    return {row.id: row.name for row in rows if row.name}


def find(session: Session, id_or_name: str) -> Device | None:
    """The device with this id, or else with this name. No name is another device's id (see `name_is_free`)."""
    found = get(session, id_or_name)
    if found is not None:
        return found
    statement = select(Device).where(Device.name == id_or_name[:64])
    return session.scalar(statement.options(joinedload(Device.offer).joinedload(Target.release)))


def name_is_free(session: Session, name: str) -> bool:
    """Whether no device has this as its id or its name."""
    return session.scalar(select(Device.id).where((Device.id == name) | (Device.name == name)).limit(1)) is None


def listed(session: Session, limit: int, after: str = "") -> list[Device]:
    """Devices by id, with their offers."""
    return with_offers(session, select(Device).where(Device.id > after).order_by(Device.id).limit(limit))


def with_offers(session: Session, statement: Any) -> list[Device]:
    """Many devices, each with its offer: a fleet has few, so each is read once, and without its envelope."""
    offered = selectinload(Device.offer)
    options = (offered.defer(Target.envelope), offered.defer(Target.patches), offered.joinedload(Target.release))
    return list(session.scalars(statement.options(*options)))


def revoke(session: Session, device: Device, by: str) -> None:
    """Nothing is for it any more: the worker takes back what it was offered, and commands that wait never go out."""
    device.revoked_at, device.online = now_ms(), False
    device.offer_id = None
    held = update(DeviceData).where(DeviceData.device_id == device.id)
    session.execute(held.values(offer_id=None))
    waiting = select(Command.id).where(Command.device_id == device.id, Command.state.in_(("pending", "verified")))
    for row in session.scalars(waiting).all():
        commands.cancel(session, row, by)


def newest_target(session: Session, product: str, board: str, group: str = groups.DEFAULT) -> Target | None:
    """What a new device of this product, board and group should run, if it may take that whatever it runs."""
    found = groups.get(session, group)
    target = None if found is None else offers.target_for(session, found, product, board)
    return steps.first(session, target, None, None)


def all_offline(session: Session, concerns: Callable[[str], bool] | None = None) -> None:
    """After a new connection to the broker: the retained states that follow say who is there.

    concerns: says of a device's id whether these states are read by this process; all are without it.
    """
    there = Device.online & (Device.protocol != "coap")
    if concerns is None:
        session.execute(update(Device).where(there).values(online=False))
        return
    ours = [device_id for device_id in session.scalars(select(Device.id).where(there)) if concerns(device_id)]
    for at in range(0, len(ours), AT_ONCE):
        session.execute(update(Device).where(Device.id.in_(ours[at : at + AT_ONCE])).values(online=False))
