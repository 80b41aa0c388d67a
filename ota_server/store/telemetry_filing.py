"""Files telemetry: the points of many packs, and what came in on each stream, in a few statements.

One row a value, and what a series is called said once: a third of the bytes of rows that carry device, stream, name and
unit, fewer than the packs themselves take, and one index range for "this series between then and then"
(bench/telemetry_rows.py). `telemetry` reads what is filed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, insert, select, tuple_
from sqlalchemy.orm import Session

from ota_server.store import alarms, bulk, device_events, gaps
from ota_server.store.models import Point, Series, Stream, now_ms
from ota_server.store.repeated_packs import RepeatedPacks
from ota_server.store.telemetry_rows import Pack, SeriesRow, StreamRow, Value, short
from tidegate.errors import Refused

MAX_STREAMS = 32  # of a device
MAX_SERIES = 256  # of a device
_CHUNK = 200  # streams named in one statement; databases bound the number of parameters

Key = tuple[str, str]  # a device and its stream
_STREAM: Any = Stream.__table__
_SERIES: Any = Series.__table__
_POINT: Any = Point.__table__


class Arrived(NamedTuple):
    """A pack that came in."""

    device_id: str
    stream: str
    pack: Pack


def add(session: Session, arrived: Sequence[Arrived]) -> list[int | Refused]:
    """File packs in the order in which they came. A pack filed before changes nothing.

    Returns for each how many packs its device lost before it, or why it is refused as a whole. The caller holds the
    rows of the devices locked, so that two packs of one device are never filed at once.
    """
    connection = session.connection()
    keys = sorted({(one.device_id, one.stream) for one in arrived})
    ledger = _Ledger(connection, keys)
    ledger.load_numbers(arrived)
    outcome = [ledger.take(*one) for one in arrived]
    ledger.write()
    if ledger.gaps:
        device_events.packs_missing(session, ledger.gaps)
        alarms.count(session, "packs that never came", sum(missing for missing, _ in ledger.gaps.values()))
    return outcome


class _Ledger:
    """The streams and series that a batch of packs changes: read at once, written at once."""

    def __init__(self, connection: Connection, keys: Sequence[Key]) -> None:
        self._connection = connection
        self._streams: dict[Key, StreamRow] = {}
        self._series: dict[Key, dict[str, SeriesRow]] = {key: {} for key in keys}
        self._named: dict[str, list[str]] = {}  # the streams of each device that have packs here
        for device_id, name in keys:
            self._named.setdefault(device_id, []).append(name)
        self._points: list[tuple[SeriesRow, Value]] = []
        self._repeated = RepeatedPacks(connection, self._points)
        self._others: dict[str, dict[str, int]] = {}  # numbers of the last packs on a device's other streams
        self.gaps: dict[Key, tuple[int, int]] = {}  # packs that never came, and how many the device says it dropped
        self._crowd: dict[tuple[Any, str], int] = {}  # rows of a table that a device has; known for those with new ones
        c, s = _STREAM.c, _SERIES.c
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            streams = select(
                c.device_id,
                c.name,
                c.packs,
                c.repeated,
                c.dropped,
                c.drop_mark,
                c.seen,
                c.number,
                c.missing,
                c.counts,
            )
            streams = streams.where(tuple_(c.device_id, c.name).in_(chunk))
            for device_id, stream, *rest in connection.execute(streams):
                self._streams[device_id, stream] = StreamRow(*rest)
            series = select(s.device_id, s.stream, s.name, s.id, s.unit, s.at, s.number, s.text)
            series = series.where(tuple_(s.device_id, s.stream).in_(chunk))
            for device_id, stream, name, *rest in connection.execute(series):
                self._series[device_id, stream][name] = SeriesRow(*rest)

    def load_numbers(self, arrived: Sequence[Arrived]) -> None:
        """Read the last numbers of a device's streams that have no pack here, where they may say what is missing."""
        first: dict[str, dict[str, int]] = {}
        for device_id, stream, pack in arrived:
            if pack.number is not None:
                first.setdefault(device_id, {}).setdefault(stream, pack.number)
        wanted = [device_id for device_id, numbers in first.items() if not self._goes_on(device_id, numbers)]
        c = _STREAM.c
        for start in range(0, len(wanted), _CHUNK):
            chosen = c.device_id.in_(wanted[start : start + _CHUNK]) & c.number.is_not(None)
            for device_id, name, number in self._connection.execute(
                select(c.device_id, c.name, c.number).where(chosen)
            ):
                if (device_id, name) not in self._series:
                    self._others.setdefault(device_id, {})[name] = number

    def _goes_on(self, device_id: str, numbers: dict[str, int]) -> bool:
        """Whether each stream's first number here is the one after its last, as it is where there is one stream."""
        rows = ((self._streams.get((device_id, name)), number) for name, number in numbers.items())
        return all(row is not None and row.number == number - 1 for row, number in rows)

    def take(self, device_id: str, stream: str, pack: Pack) -> int | Refused:
        """Note a pack; returns how many were lost before it, or why it is refused."""
        key = device_id, stream
        row, known = self._streams.get(key), self._series[key]
        if row is None:
            if not self._has_room(_STREAM, device_id, 1, MAX_STREAMS):
                return _too_many(MAX_STREAMS, "streams")
            row = StreamRow()
            row.is_new = True
        mark = None if pack.mark is None else short(pack.mark)
        if mark is not None and (row.knows(mark) or self._repeated.has(row, known, pack)):
            row.repeated += 1
            row.changed = True
            return 0
        new = {value.name for value in pack.values if value.name not in known}
        if new and not self._has_room(_SERIES, device_id, len(new), MAX_SERIES):
            return _too_many(MAX_SERIES, "measurements")
        if row.is_new and key not in self._streams:
            self._crowd[_STREAM, device_id] += 1
            self._streams[key] = row
        if new:
            self._crowd[_SERIES, device_id] += len(new)
        row.remember(mark, pack.number)
        row.packs += 1
        row.changed = True
        lost = row.count_lost(pack.dropped)
        if pack.number is not None:
            self._count(key, row, pack.number, lost)
        for value in pack.values:
            name, unit, at, number, text = value
            series = known.get(name)
            if series is None:
                series = known[name] = SeriesRow(None, None, 0, None, None)
            series.points += 1
            if at >= series.at:  # what was stored and forwarded late does not replace what is newer
                series.unit, series.at, series.number, series.text = unit, at, number, text
            self._points.append((series, value))
        return lost

    def _count(self, key: Key, row: StreamRow, number: int, lost: int) -> None:
        """Note a pack's number, and the packs before it that never came; the device says that it dropped `lost`."""
        if gaps.is_late(number, row.number):
            row.missing = max(0, row.missing - 1)
            return
        if row.number != number - 1:
            missing = gaps.before(number, self._last_numbers(key[0]))
            if missing:
                row.missing += missing
                before = self.gaps.get(key, (0, 0))
                self.gaps[key] = before[0] + missing, before[1] + lost
        row.number = number

    def _last_numbers(self, device_id: str) -> Iterator[int]:
        """Of the packs that came last on each of the device's streams."""
        yield from self._others.get(device_id, {}).values()
        for name in self._named.get(device_id, ()):
            row = self._streams.get((device_id, name))
            if row is not None and row.number is not None:
                yield row.number

    def write(self) -> None:
        """Insert and update the rows."""
        now = now_ms()
        self._write_streams(now)
        self._write_series()
        points = [
            {"series_id": series.id, "at": value.at, "number": value.number, "text": value.text}
            for series, value in self._points
        ]
        if points:
            bulk.insert_rows(self._connection, _POINT, points)

    def _write_streams(self, now: int) -> None:
        new: list[dict[str, Any]] = []
        old: list[dict[str, Any]] = []
        for (device_id, name), row in self._streams.items():
            if row.changed:
                (new if row.is_new else old).append(
                    {
                        "device_id": device_id,
                        "name": name,
                        "at": now,
                        "packs": row.packs,
                        "repeated": row.repeated,
                        "dropped": row.dropped,
                        "drop_mark": row.drop_mark,
                        "seen": row.seen,
                        "number": row.number,
                        "missing": row.missing,
                        "counts": row.counts.encode(),
                    }
                )
        if new:
            self._connection.execute(insert(_STREAM), new)
        if old:
            bulk.update_rows(self._connection, _STREAM, old, ("device_id", "name"))

    def _write_series(self) -> None:
        new = [
            {"device_id": key[0], "stream": key[1], "name": name, "at": 0, "points": 0}
            for key, known in self._series.items()
            for name, series in known.items()
            if series.id is None
        ]
        if new:
            self._insert_series(new)
        changed = [
            {
                "id": series.id,
                "points": series.points,
                "at": series.at,
                "unit": series.unit,
                "number": series.number,
                "text": series.text,
            }
            for known in self._series.values()
            for series in known.values()
            if series.points
        ]
        if changed:
            # Added in the database: housekeeping takes from the count at any time.
            bulk.update_rows(self._connection, _SERIES, changed, ("id",), added=("points",))

    def _insert_series(self, new: list[dict[str, Any]]) -> None:
        """Insert series, and note the numbers that they get."""
        c, keys = _SERIES.c, sorted({(row["device_id"], row["stream"]) for row in new})
        self._connection.execute(insert(_SERIES), new)
        for start in range(0, len(keys), _CHUNK):
            rows = select(c.device_id, c.stream, c.name, c.id)
            chosen = rows.where(tuple_(c.device_id, c.stream).in_(keys[start : start + _CHUNK]))
            for device_id, stream, name, number in self._connection.execute(chosen):
                series = self._series[device_id, stream].get(name)
                if series is not None:
                    series.id = number

    def _has_room(self, table: Any, device_id: str, more: int, most: int) -> bool:
        """Whether a device that invents names may have more rows in this table."""
        if (table, device_id) not in self._crowd:
            counted = select(func.count()).where(table.c.device_id == device_id)
            self._crowd[table, device_id] = self._connection.execute(counted).scalar_one()
        return self._crowd[table, device_id] + more <= most


def _too_many(most: int, what: str) -> Refused:
    return Refused("telemetry", f"a device has at most {most} {what}")
