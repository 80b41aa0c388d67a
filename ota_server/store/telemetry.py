"""Telemetry as it is read: what came in on each stream, the history of each series and its newest value."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from ota_server.store.models import Point, Series, Stream

_MERGED = 32  # more series than this are sorted by the database, not merged here


class Query(NamedTuple):
    """Which points: `since` and `until` are ms since 1970, the first included, the second not; None means any."""

    stream: str | None = None
    name: str | None = None
    since: int | None = None
    until: int | None = None


def history(
    session: Session, device_id: str, query: Query, limit: int, before: tuple[int, int] | None = None
) -> list[tuple[Point, Series]]:
    """Newest first; `before` is (at, id) of the last row of the page before this one.

    Of a few series each gives its own newest, by its index, and they are merged: the device may have millions.
    """
    chosen = {row.id: row for row in series(session, device_id, query)}
    statement = _in_time(select(Point), query)
    if before is not None:
        at, row = before
        statement = statement.where((Point.at < at) | ((Point.at == at) & (Point.id < row)))
    statement = statement.order_by(Point.at.desc(), Point.id.desc()).limit(limit)
    if len(chosen) > _MERGED:
        points = list(session.scalars(statement.where(Point.series_id.in_(chosen))))
    else:
        each = [session.scalars(statement.where(Point.series_id == one)).all() for one in chosen]
        points = list(heapq.merge(*each, key=lambda point: (-point.at, -point.id)))[:limit]
    return [(point, chosen[point.series_id]) for point in points]


def arrived(session: Session, device_id: str, query: Query, limit: int, after: int) -> list[tuple[Point, Series]]:
    """What was filed after row `after`, in the order it came: nothing is missed that was stored and sent late."""
    statement = _points(device_id, query).where(Point.id > after)
    return [(row[0], row[1]) for row in session.execute(statement.order_by(Point.id).limit(limit))]


def _points(device_id: str, query: Query) -> Any:
    statement = select(Point, Series).join(Series, Series.id == Point.series_id).where(Series.device_id == device_id)
    if query.stream is not None:
        statement = statement.where(Series.stream == query.stream)
    if query.name is not None:
        statement = statement.where(Series.name == query.name)
    return _in_time(statement, query)


def _in_time(statement: Any, query: Query) -> Any:
    if query.since is not None:
        statement = statement.where(Point.at >= query.since)
    if query.until is not None:
        statement = statement.where(Point.at < query.until)
    return statement


def series(session: Session, device_id: str, query: Query = Query()) -> list[Series]:  # noqa: B008
    """The device's series with their newest values, by stream and name; of `query`, stream and name count."""
    statement = select(Series).where(Series.device_id == device_id)
    if query.stream is not None:
        statement = statement.where(Series.stream == query.stream)
    if query.name is not None:
        statement = statement.where(Series.name == query.name)
    return list(session.scalars(statement.order_by(Series.stream, Series.name)))


def latest(session: Session, device_id: str) -> list[Series]:
    """The newest value under each name, by name, whatever stream it came on."""
    newest: dict[str, Series] = {}
    for row in series(session, device_id):
        if row.name not in newest or row.at > newest[row.name].at:
            newest[row.name] = row
    return [newest[name] for name in sorted(newest)]


def latest_of(session: Session, device_ids: Sequence[str]) -> dict[str, list[Series]]:
    """The newest value under each name of several devices, as `latest`."""
    newest: dict[str, dict[str, Series]] = {device_id: {} for device_id in device_ids}
    for row in session.scalars(select(Series).where(Series.device_id.in_(device_ids))):
        known = newest[row.device_id].get(row.name)
        if known is None or row.at > known.at:
            newest[row.device_id][row.name] = row
    return {device_id: [named[name] for name in sorted(named)] for device_id, named in newest.items()}


def streams(session: Session, device_id: str) -> list[Stream]:
    return list(session.scalars(select(Stream).where(Stream.device_id == device_id).order_by(Stream.name)))


def streams_of(session: Session, device_ids: Sequence[str]) -> dict[str, list[Stream]]:
    """The streams of each of several devices."""
    found: dict[str, list[Stream]] = {device_id: [] for device_id in device_ids}
    for row in session.scalars(select(Stream).where(Stream.device_id.in_(device_ids)).order_by(Stream.name)):
        found[row.device_id].append(row)
    return found


def recent_numbers(session: Session, series_id: int, limit: int) -> list[float]:
    """The last numbers of one series, oldest first: a sparkline."""
    statement = (
        select(Point.number)
        .where(Point.series_id == series_id, Point.number.is_not(None))
        .order_by(Point.at.desc(), Point.id.desc())
        .limit(limit)
    )
    return [n for n in session.scalars(statement) if n is not None][::-1]
