"""Bounds the tables: rows of each kind per device, and the age of telemetry.

The oldest are deleted first, in small transactions, so that other writers never wait long.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from ota_server.config import KEEP_ALARMS, KEEP_COMMANDS, KEEP_REPORTS, KEEP_TELEMETRY, KEEP_TELEMETRY_DAYS
from ota_server.store import commands
from ota_server.store.models import Alarm, Device, Point, Report, Series, now_ms

BATCH = 2000  # points deleted in one transaction
_DAY_MS = 86_400_000

_KEPT: tuple[tuple[type[Report | Alarm], int], ...] = ((Report, KEEP_REPORTS), (Alarm, KEEP_ALARMS))


class Keep(NamedTuple):
    """How much telemetry is stored."""

    days: float = KEEP_TELEMETRY_DAYS
    rows: int = KEEP_TELEMETRY  # of each device


def prune(session: Session) -> None:
    """Erase and delete what is beyond each limit. The index on (device, id) finds the border without a scan."""
    commands.erase(session)
    for device_id in session.scalars(select(Device.id)).all():
        for table, keep in _KEPT:
            border = session.scalar(
                select(table.id).where(table.device_id == device_id).order_by(table.id.desc()).offset(keep).limit(1)
            )
            if border is not None:
                session.execute(delete(table).where(table.device_id == device_id, table.id <= border))
        commands.forget(session, device_id, KEEP_COMMANDS)


def prune_telemetry(session: Session, keep: Keep, batch: int = BATCH) -> int:
    """Delete at most `batch` points that are too old or too many; returns how many, `batch` when there may be more."""
    gone = _too_old(session, now_ms() - round(keep.days * _DAY_MS), batch)
    return gone + _too_many(session, keep.rows, batch - gone) if gone < batch else gone


def _too_old(session: Session, border: int, batch: int) -> int:
    """Series by series, so that the index on (series, time) is what is read."""
    gone = 0
    all_old = (session.scalar(select(func.max(Series.at)).where(Series.points > 0)) or 0) < border
    # SQLite counts from 1 again once a table is empty, and followers, who know higher ids, would miss what comes.
    spared = session.scalar(select(func.max(Point.id))) if all_old else None
    for series in session.scalars(select(Series.id).where(Series.points > 0).order_by(Series.id)).all():
        statement = select(Point.id).where(Point.series_id == series, Point.at < border).order_by(Point.at)
        if spared is not None:
            statement = statement.where(Point.id != spared)
        gone += _delete(session, series, list(session.scalars(statement.limit(batch - gone))))
        if gone == batch:
            break
    return gone


def _too_many(session: Session, rows: int, batch: int) -> int:
    gone = 0
    held = func.sum(Series.points)
    crowded = select(Series.device_id, held).group_by(Series.device_id).having(held > rows)
    for device_id, count in session.execute(crowded.order_by(Series.device_id)).all():
        statement = (
            select(Point.id, Point.series_id)
            .join(Series, Series.id == Point.series_id)
            .where(Series.device_id == device_id)
            .order_by(Point.at, Point.id)
            .limit(min(int(count) - rows, batch - gone))
        )
        oldest: dict[int, list[int]] = {}
        for point, series in session.execute(statement).all():
            oldest.setdefault(series, []).append(point)
        gone += sum(_delete(session, series, points) for series, points in oldest.items())
        if gone == batch:
            break
    return gone


def _delete(session: Session, series: int, points: list[int]) -> int:
    for start in range(0, len(points), 500):  # databases bound the number of parameters
        session.execute(delete(Point).where(Point.id.in_(points[start : start + 500])))
    if points:
        session.execute(update(Series).where(Series.id == series).values(points=Series.points - len(points)))
    return len(points)
