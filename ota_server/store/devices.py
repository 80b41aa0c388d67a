"""Devices: who they are, what they last said, what they should be offered."""

from __future__ import annotations

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, joinedload

from ota_server.store import commands, data, groups
from ota_server.store.models import Command, Device, DeviceData, Target, now_ms
from ota_server.store.trust_updates import newest_version


def get(session: Session, device_id: str) -> Device | None:
    return session.get(Device, device_id, options=[joinedload(Device.offer).joinedload(Target.release)])


def find(session: Session, id_or_name: str) -> Device | None:
    """The device with this id, or else with this name. No name is another device's id (see `name_is_free`)."""
    found = get(session, id_or_name)
    if found is not None:
        return found
    wanted = select(Device).where(Device.name == id_or_name[:64])
    return session.scalar(wanted.options(joinedload(Device.offer).joinedload(Target.release)))


def name_is_free(session: Session, name: str) -> bool:
    """Whether no device has this as its id or its name."""
    return session.scalar(select(Device.id).where((Device.id == name) | (Device.name == name)).limit(1)) is None


def listed(session: Session, limit: int, after: str = "") -> list[Device]:
    """Devices by id, with their offers."""
    wanted = (
        select(Device)
        .where(Device.id > after)
        .order_by(Device.id)
        .limit(limit)
        .options(joinedload(Device.offer).joinedload(Target.release))
    )
    return list(session.scalars(wanted))


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
    """What a new device of this product, board and group should run."""
    found = groups.get(session, group)
    return None if found is None else groups.target_for(session, found, product, board)


def unsent_offers(session: Session, limit: int) -> list[tuple[str, int, bytes]]:
    """(device id, target id, envelope) of offers the broker has not taken yet.

    A device whose trust store is behind is brought up to date first: it could refuse a good release for its keys.
    """
    wanted = (
        select(Device.id, Target.id, Target.envelope)
        .join(Target, Device.offer_id == Target.id)
        .where(
            Device.offer_id.is_distinct_from(Device.offer_sent_id),
            func.coalesce(Device.trust_version, 0) >= newest_version(session),
            Device.revoked_at.is_(None),
        )
        .order_by(Device.id)
        .limit(limit)
    )
    return [(row[0], row[1], row[2]) for row in session.execute(wanted)]


def withdrawn_offers(session: Session, limit: int) -> list[str]:
    """Ids of devices whose retained offer must go."""
    wanted = select(Device.id).where(Device.offer_id.is_(None), Device.offer_sent_id.is_not(None))
    return list(session.scalars(wanted.order_by(Device.id).limit(limit)))


def offer_sent(session: Session, device_id: str, target_id: int | None) -> None:
    session.execute(update(Device).where(Device.id == device_id).values(offer_sent_id=target_id))


def forget_sent_offers(session: Session) -> None:
    """After the broker lost its retained messages: every offer and trust update must go out again."""
    session.execute(update(Device).values(offer_sent_id=None, trust_sent=None))
    data.forget_sent(session)


def all_offline(session: Session) -> None:
    """After a new connection to the broker: the retained states that follow say who is there."""
    session.execute(update(Device).where(Device.online, Device.protocol != "coap").values(online=False))
