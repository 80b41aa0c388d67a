"""Selectors of devices as conditions of statements."""

from __future__ import annotations

import operator

from sqlalchemy import ColumnElement, and_, func, or_, select, true

from ota_server.store.models import Device, DeviceLabel, Group
from tidegate.rollout import Selector, Term

_COMPARE = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt}


def condition(selector: Selector, now: int) -> ColumnElement[bool]:
    """What holds for a row of `Device` that is selected; `now` in ms."""
    return and_(true(), *(_term(term, now) for term in selector.terms))


def _term(term: Term, now: int) -> ColumnElement[bool]:
    if term.field == "sequence":
        return _COMPARE[term.sign](func.coalesce(Device.sequence, 0), term.number)
    if term.field == "seen":
        lately = func.coalesce(Device.last_seen_at, 0) > now - 1000 * term.number
        return lately if term.sign == "<" else ~lately
    found = _is_one_of(term)
    return ~found if term.sign == "!=" else found


def _is_one_of(term: Term) -> ColumnElement[bool]:
    if term.field == "board":
        return Device.board.in_(term.values)
    if term.field == "group":
        return Device.group.in_(term.values)
    if term.field == "channel":
        return Device.group.in_(select(Group.name).where(Group.channel.in_(term.values)))
    if term.field == "version":
        return func.coalesce(Device.version, "").in_(term.values)
    if term.field == "device":
        return or_(Device.id.in_(term.values), func.coalesce(Device.name, "").in_(term.values))
    labelled = select(DeviceLabel.device_id).where(DeviceLabel.key == term.key, DeviceLabel.value.in_(term.values))
    return Device.id.in_(labelled)
