"""How a device stands, in one word, as an expression: the overview counts it, and the list of devices filters by it."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.orm import Session

from ota_server.fleet import offer_state
from ota_server.store import phases
from ota_server.store.device_events import SILENCE_MS
from ota_server.store.models import Device, Release, Target

WORDS = ("failed", "overdue", "updating", "on-time", "new", "revoked")


class Counts(NamedTuple):
    """Devices by their standing: all of them, and by (product, version), by group and by board."""

    all: Counter[str]
    by_version: dict[tuple[str, str], Counter[str]]
    by_group: dict[str, Counter[str]]
    by_board: dict[str, Counter[str]]
    online: int


def standing(now: int) -> ColumnElement[str]:
    """One of WORDS. It needs offer_state.joined. now: ms since 1970.

    failed: it does not get on with its offer by itself. overdue: silent for longer than SILENCE_MS. updating: on its
    way to another release, or trying again. on-time: heard when it should be. new: it was never heard.
    """
    state = offer_state.image_state(Target.image_digest, Release.sequence)
    offered = Target.id.is_not(None)
    silent = and_(~Device.online, func.coalesce(Device.last_seen_at, 0) <= now - SILENCE_MS)
    busy = or_(Device.update["phase"].as_string().in_(phases.BUSY), and_(offered, state == "retrying"), Device.trial)
    return case(
        (Device.revoked_at.is_not(None), "revoked"),
        (and_(offered, state == "failed"), "failed"),
        (Device.last_seen_at.is_(None) & ~Device.online, "new"),
        (silent, "overdue"),
        (busy, "updating"),
        else_="on-time",
    )


def counts(session: Session, now: int) -> Counts:
    """One pass over the devices."""
    word = standing(now).label("word")
    by = (Device.product, func.coalesce(Device.version, ""), Device.group, Device.board, word)
    online = func.count().filter(Device.online)
    found = Counts(Counter(), {}, {}, {}, 0)
    many = 0
    for product, version, group, board, name, count, there in session.execute(
        offer_state.joined(select(*by, func.count(), online).select_from(Device)).group_by(*by)
    ):
        found.all[name] += count
        many += there
        if name == "revoked":
            continue
        found.by_version.setdefault((product, version), Counter())[name] += count
        found.by_group.setdefault(group, Counter())[name] += count
        found.by_board.setdefault(board, Counter())[name] += count
    return found._replace(online=many)
