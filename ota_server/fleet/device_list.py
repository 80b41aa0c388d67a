"""The list of devices as people look through it: searched, filtered, sorted, a page at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, case, func, or_, select, true
from sqlalchemy.orm import Session

from ota_server.fleet.offer_state import joined
from ota_server.fleet.standing import WORDS, standing
from ota_server.store.models import Device, DeviceLabel

ROWS = 50
_SORTS = {
    "id": Device.id,
    "name": func.coalesce(Device.name, Device.id),
    "group": Device.group,
    "board": Device.board,
    "version": func.coalesce(Device.sequence, 0),
    "seen": func.coalesce(Device.last_seen_at, 0),
}
SORTS = ("trouble", *_SORTS)


class Query(NamedTuple):
    """search: part of an id, a name or a label's value. sort: one of SORTS, with "-" before it the other way round."""

    search: str = ""
    standing: str = ""
    group: str = ""
    board: str = ""
    version: str = ""
    product: str = ""
    sort: str = "trouble"
    page: int = 1


class Found(NamedTuple):
    """rows: (device, its standing) of one page. many: on all pages."""

    rows: list[tuple[Device, str]]
    many: int


def find(session: Session, query: Query, now: int) -> Found:
    """now: ms since 1970."""
    word = standing(now)
    which = _which(query, word)
    counted = select(func.count()).select_from(Device)
    many = session.scalar((joined(counted) if query.standing else counted).where(which)) or 0
    name, backwards = query.sort.lstrip("-"), query.sort.startswith("-")
    by = case({one: at for at, one in enumerate(WORDS)}, value=word) if name == "trouble" else _SORTS[name]
    order = (by.desc() if backwards else by, Device.id)
    page = joined(select(Device, word)).where(which).order_by(*order)
    rows = session.execute(page.offset((query.page - 1) * ROWS).limit(ROWS)).all()
    return Found([(row[0], row[1]) for row in rows], many)


def _which(query: Query, word: Any) -> Any:
    terms: list[Any] = [true()]
    if query.search:
        part = query.search.lower()
        labelled = select(DeviceLabel.device_id).where(_holds(DeviceLabel.value, part))
        named = _holds(func.coalesce(Device.name, ""), part)
        terms.append(or_(_holds(Device.id, part), named, Device.id.in_(labelled)))
    for column, value in (
        (Device.group, query.group), (Device.board, query.board), (Device.product, query.product),
        (Device.version, query.version), (word, query.standing),
    ):  # fmt: skip
        if value:
            terms.append(column == value)
    return and_(*terms)


def _holds(column: Any, part: str) -> ColumnElement[bool]:
    return func.lower(column).contains(part, autoescape=True)
