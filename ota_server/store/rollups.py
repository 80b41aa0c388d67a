"""Telemetry by the minute, the hour and the day: count, least, most and sum of what was measured in it.

They are built from new points in the order in which these came, so one that was stored and sent late counts where it
belongs, and stay longer than the points. A year of one measurement is a page, however often it was measured.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from ota_server.store import progress
from ota_server.store.engine import Store
from ota_server.store.models import Point, Rollup, Series, now_ms

Step = Literal["minute", "hour", "day"]

_MINUTE_MS, _DAY_MS = 60_000, 86_400_000
STEPS_MS: dict[Step, int] = {"minute": _MINUTE_MS, "hour": 60 * _MINUTE_MS, "day": _DAY_MS}
KEEP_DAYS: dict[Step, int] = {"minute": 7, "hour": 400, "day": 3650}
BATCH = 2000  # points in one transaction
_LOOK = 500  # series in one read
_PRUNE_SERIES = 50  # in one transaction
_NAME = "roll-ups"  # in `progress`: the last point that is in them
_MERGED = 32  # more series than this are sorted by the database, not merged here


def newest_point(session: Session) -> int:
    return session.scalar(select(func.max(Point.id))) or 0


def advance(store: Store, last: int, between: Callable[[], bool]) -> int:
    """Add the points up to the number `last` that are not in yet; returns how many numbers that were.

    On PostgreSQL numbers are given out before they can be seen: let `last` be one that is some seconds old.
    """
    done = 0
    while True:
        with store.read() as session:
            if progress.get(session, _NAME) >= last:
                return done
        with store.write() as session:
            before = progress.get_locked(session, _NAME)
            after = min(before + BATCH, last)
            if after <= before:
                return done  # another server was faster
            for step in STEPS_MS:
                session.execute(_ADD[step], {"before": before, "after": after})
            progress.put(session, _NAME, after)
        done += after - before
        if not between():
            return done


def _add(step: Step) -> Any:
    ms = STEPS_MS[step]  # written out: PostgreSQL takes two parameters for two expressions
    return text(
        f"INSERT INTO rollup (series_id, step_ms, at, count, least, most, total)"
        f" SELECT series_id, {ms}, at - at % {ms}, count(*), min(number), max(number), sum(number) FROM point"
        f" WHERE id > :before AND id <= :after AND number IS NOT NULL GROUP BY series_id, at - at % {ms}"
        " ON CONFLICT (series_id, step_ms, at) DO UPDATE SET count = rollup.count + excluded.count,"
        " least = CASE WHEN excluded.least < rollup.least THEN excluded.least ELSE rollup.least END,"
        " most = CASE WHEN excluded.most > rollup.most THEN excluded.most ELSE rollup.most END,"
        " total = rollup.total + excluded.total"
    )


_ADD = {step: _add(step) for step in STEPS_MS}


def prune(store: Store, between: Callable[[], bool]) -> int:
    """Delete what is older than `KEEP_DAYS`, of some series at a time; returns how many rows."""
    gone, last, borders = 0, 0, {ms: now_ms() - KEEP_DAYS[step] * _DAY_MS for step, ms in STEPS_MS.items()}
    while True:
        with store.read() as session:
            some = select(Series.id).where(Series.id > last).order_by(Series.id).limit(_LOOK)
            series = session.scalars(some).all()
            old = {ms: session.scalars(_with_old(series, ms, border)).all() for ms, border in borders.items()}
        if not series:
            return gone
        for ms, holders in old.items():
            for start in range(0, len(holders), _PRUNE_SERIES):
                which = Rollup.series_id.in_(holders[start : start + _PRUNE_SERIES]) & (Rollup.step_ms == ms)
                with store.write() as session:
                    done = session.execute(delete(Rollup).where(which, Rollup.at < borders[ms]))
                gone += done.rowcount  # type: ignore[attr-defined]
                if not between():
                    return gone
        last = series[-1]
        if not between():
            return gone


def _with_old(series: Sequence[int], step_ms: int, border: int) -> Any:
    """Those of the series that have roll-ups older than the border."""
    old = (Rollup.series_id == Series.id) & (Rollup.step_ms == step_ms) & (Rollup.at < border)
    return select(Series.id).where(Series.id.in_(series), select(Rollup.at).where(old).exists())


class Query(NamedTuple):
    """Which roll-ups: of these series, from `since` on, before `until`, in ms since 1970; None means any."""

    series: Sequence[int]
    step: Step
    since: int | None = None
    until: int | None = None


def listed(session: Session, query: Query, limit: int, before: tuple[int, int] | None = None) -> list[Rollup]:
    """Newest first; `before` is (at, series) of the last row of the page before this one."""
    statement = select(Rollup).where(Rollup.step_ms == STEPS_MS[query.step])
    if query.since is not None:
        statement = statement.where(Rollup.at >= query.since - query.since % STEPS_MS[query.step])
    if query.until is not None:
        statement = statement.where(Rollup.at < query.until)
    if before is not None:
        at, series = before
        statement = statement.where((Rollup.at < at) | ((Rollup.at == at) & (Rollup.series_id < series)))
    statement = statement.order_by(Rollup.at.desc(), Rollup.series_id.desc()).limit(limit)
    if len(query.series) > _MERGED:
        return list(session.scalars(statement.where(Rollup.series_id.in_(query.series))))
    each = [session.scalars(statement.where(Rollup.series_id == one)).all() for one in query.series]
    return list(heapq.merge(*each, key=lambda row: (-row.at, -row.series_id)))[:limit]


def finest(since: int, until: int, rows: int) -> Step:
    """The finest step in which a span, in ms, has at most `rows` of a series, and of which that much is stored."""
    for step, ms in STEPS_MS.items():
        if until - since <= rows * ms and now_ms() - since <= KEEP_DAYS[step] * _DAY_MS:
            return step
    return "day"
