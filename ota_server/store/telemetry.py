"""Telemetry: what came in on each stream, the history of each series and its newest value.

One row a value, and what a series is called said once: a third of the bytes of rows that carry device, stream, name and
unit, fewer than the packs themselves take, and one index range for "this series between then and then"
(bench/telemetry_rows.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from ota_server.store.models import Point, Series, Stream, now_ms
from tidegate.errors import Refused

MAX_STREAMS = 32  # of a device
MAX_SERIES = 256  # of a device
_REMEMBERED = 64  # packs of a stream that are known when they come again; a device has far fewer on their way
_MARK = 8  # bytes of a pack's mark


class Value(NamedTuple):
    """One resolved SenML record: `at` in ms since 1970, and a number or a text."""

    name: str
    unit: str | None
    at: int
    number: float | None
    text: str | None


class Pack(NamedTuple):
    """The values of one message.

    `mark` identifies it, or is None if equal packs cannot be told apart; `dropped` is the device's running count of
    packs it lost, None if it does not say.
    """

    values: list[Value]
    mark: bytes | None
    dropped: int | None


def add(session: Session, device_id: str, stream: str, pack: Pack) -> int:
    """File a pack; returns how many packs the device lost before this one. A pack filed before changes nothing.

    The caller holds the device's row locked, so that two packs of one device are never filed at once.
    """
    row = session.get(Stream, (device_id, stream))
    if row is None:
        _room(session, select(Stream.name).where(Stream.device_id == device_id), MAX_STREAMS, "streams")
        row = Stream(device_id=device_id, name=stream, packs=0, repeated=0, dropped=0, drop_mark=0, seen=b"")
        session.add(row)
    row.at = now_ms()
    if pack.mark is not None:
        mark = hashlib.sha256(pack.mark).digest()[:_MARK]
        if any(row.seen[at : at + _MARK] == mark for at in range(0, len(row.seen), _MARK)):
            row.repeated += 1
            return 0
        row.seen = (row.seen + mark)[-_REMEMBERED * _MARK :]
    row.packs += 1
    _file(session, device_id, stream, pack.values)
    return _lost(row, pack.dropped)


def _lost(row: Stream, dropped: int | None) -> int:
    """Packs lost since the count that the device said last; it may begin at 0 again after a reset."""
    if dropped is None or dropped == row.drop_mark:
        return 0
    lost = dropped - row.drop_mark if dropped > row.drop_mark else dropped
    row.drop_mark = dropped
    row.dropped += lost
    return lost


def _file(session: Session, device_id: str, stream: str, values: Iterable[Value]) -> None:
    statement = select(Series).where(Series.device_id == device_id, Series.stream == stream)
    known = {series.name: series for series in session.scalars(statement)}
    for value in values:
        series = known.get(value.name)
        if series is None:
            _room(session, select(Series.id).where(Series.device_id == device_id), MAX_SERIES, "measurements")
            series = Series(device_id=device_id, stream=stream, name=value.name, at=0, points=0)
            session.add(series)
            session.flush()  # it gets its number
            known[value.name] = series
        session.add(Point(series_id=series.id, at=value.at, number=value.number, text=value.text))
        series.points += 1
        if value.at >= series.at:  # what was stored and forwarded late does not replace what is newer
            series.at, series.unit, series.number, series.text = value.at, value.unit, value.number, value.text


def _room(session: Session, listed: Any, most: int, what: str) -> None:
    """Bound the rows of a device that invents names. Raises Refused."""
    if len(session.execute(listed.limit(most)).all()) >= most:
        raise Refused("telemetry", f"a device has at most {most} {what}")


class Query(NamedTuple):
    """Which points: `since` and `until` are ms since 1970, the first included, the second not; None means any."""

    stream: str | None = None
    name: str | None = None
    since: int | None = None
    until: int | None = None


def history(
    session: Session, device_id: str, query: Query, limit: int, before: tuple[int, int] | None = None
) -> list[tuple[Point, Series]]:
    """Newest first; `before` is (at, id) of the last row of the page before this one."""
    statement = _points(device_id, query)
    if before is not None:
        at, row = before
        statement = statement.where((Point.at < at) | ((Point.at == at) & (Point.id < row)))
    rows = session.execute(statement.order_by(Point.at.desc(), Point.id.desc()).limit(limit))
    return [(row[0], row[1]) for row in rows]


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
