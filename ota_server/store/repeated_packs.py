"""Whether a pack that comes after newer ones was filed before more of them than have a mark.

A broker that lost what was acknowledged to it sends any number of messages again. Packs come in order, so that this
asks the database for hardly any that is new.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, select

from ota_server.store import gaps, pack_counts
from ota_server.store.models import Point
from ota_server.store.telemetry_rows import Pack, SeriesRow, StreamRow, Value

_POINT: Any = Point.__table__


class RepeatedPacks:
    """Knows them by what is stored. points: what the batch at hand has filed so far, in a list that grows."""

    def __init__(self, connection: Connection, points: Iterable[tuple[SeriesRow, Value]]) -> None:
        self._connection = connection
        self._points = points

    def has(self, row: StreamRow, known: Mapping[str, SeriesRow], pack: Pack) -> bool:
        """known: the series of the stream, by their names."""
        number = pack.number
        if number is None:
            late = all(value.name in known and value.at < known[value.name].at for value in pack.values)
            return late and self._has_points(known, pack)
        if number in row.counts:
            # Another boot may count where an earlier one did: once in a million, and then its values tell.
            return self._has_values(known, pack)
        return gaps.is_late(number, row.number) and self._has_points(known, pack)

    def _has_values(self, known: Mapping[str, SeriesRow], pack: Pack) -> bool:
        """Whether among the last points of each series is this pack's value, of whatever time."""
        values: dict[str, set[tuple[float | None, str | None]]] = {}
        for value in pack.values:
            values.setdefault(value.name, set()).add((value.number, value.text))
        return all(name in known and wanted <= self._last_values(known[name]) for name, wanted in values.items())

    def _last_values(self, series: SeriesRow) -> set[tuple[float | None, str | None]]:
        found = {(value.number, value.text) for of, value in self._points if of is series}
        if series.id is None:
            return found
        if series.last_values is None:
            p = _POINT.c
            last = select(p.number, p.text).where(p.series_id == series.id).order_by(p.at.desc())
            rows = self._connection.execute(last.limit(pack_counts.WINDOW))
            series.last_values = {(number, text) for number, text in rows}
        return series.last_values | found

    def _has_points(self, known: Mapping[str, SeriesRow], pack: Pack) -> bool:
        """Whether all values of a pack are stored, each with its time."""
        wanted: dict[int, set[Any]] = {}
        for value in pack.values:
            series = known.get(value.name)
            if series is None or series.id is None:
                return False
            wanted.setdefault(series.id, set()).add((value.at, value.number, value.text))
        p = _POINT.c
        for series_id, points in wanted.items():
            chosen = (p.series_id == series_id) & p.at.in_({at for at, _, _ in points})
            stored = self._connection.execute(select(p.at, p.number, p.text).where(chosen))
            if points - {tuple(point) for point in stored}:
                return False
        return bool(wanted)
