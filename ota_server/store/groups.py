"""Groups of devices, and the channels of releases that they follow; store/offers derives what they are offered."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from ota_server.store import engine
from ota_server.store.models import ChannelRelease, Device, Group

DEFAULT = "default"  # the group of devices that were put into no other
STABLE = "stable"  # the channel of groups and releases that name no other
_LOCK = 0x7469646567726F75  # any number, but always the same


def lock(session: Session) -> None:
    """Lock groups, channels and releases until this transaction ends. Take this lock before the audit log's.

    SQLite has one writer anyway; elsewhere two that do not see each other's work could derive offers from half of it.
    """
    engine.lock(session, _LOCK)


def get(session: Session, name: str) -> Group | None:
    return session.get(Group, name, options=[joinedload(Group.release)])


def listed(session: Session) -> list[Group]:
    return list(session.scalars(select(Group).order_by(Group.name).options(joinedload(Group.release))))


def sizes(session: Session) -> dict[str, int]:
    """How many devices are in which group."""
    counted = select(Device.group, func.count()).group_by(Device.group)
    return {row[0]: row[1] for row in session.execute(counted)}


def state_digest(session: Session) -> str:
    """Changes with any group, what it follows, its settings, or who is in it: 16 hex digits."""
    facts: list[Any] = [[g.name, g.channel, g.release_id, g.settings] for g in listed(session)]
    facts += [list(row) for row in session.execute(select(Device.id, Device.group).order_by(Device.id))]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def channels(session: Session, release_id: int) -> list[str]:
    """The channels a release stands in."""
    statement = select(ChannelRelease.channel).where(ChannelRelease.release_id == release_id)
    return list(session.scalars(statement.order_by(ChannelRelease.channel)))
