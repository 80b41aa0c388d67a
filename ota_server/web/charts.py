"""Telemetry as pictures: the points of a span, or where there are too many what roll-ups say of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median
from typing import NamedTuple

from sqlalchemy.orm import Session

from ota_server.store import rollups, telemetry
from ota_server.store.models import Series

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 480, 170, 56, 22, 8
SPANS = {"1h": 3600, "6h": 6 * 3600, "24h": 86400, "7d": 7 * 86400, "30d": 30 * 86400, "1y": 365 * 86400}  # seconds
_POINTS = 400
_GAP = 5  # times the usual distance: then the line is interrupted


class Value(NamedTuple):
    """at: ms since 1970. low and high are those of the time that it stands for."""

    at: int
    value: float
    low: float
    high: float


class Chart(NamedTuple):
    """A picture of one series: `lines` and `band` are points of SVG, `marks` are ("y", "text") and ("x", "text").

    data: "at,x,y,value,low,high;..." for the crosshair.
    """

    name: str
    stream: str
    unit: str | None
    values: list[Value]
    lines: list[str]
    band: list[str]
    y_marks: list[tuple[float, float]]
    x_marks: list[tuple[float, str]]
    data: str
    step: str


def of_series(session: Session, row: Series, since: int, until: int) -> Chart:
    """since, until: ms since 1970."""
    values, step = _values(session, row, since, until)
    return draw(row.name, row.stream, row.unit, values, since, until, step)


def draw(name: str, stream: str, unit: str | None, values: Sequence[Value], since: int, until: int, step: str) -> Chart:
    low = min((one.low for one in values), default=0.0)
    high = max((one.high for one in values), default=1.0)
    if low == high:
        low, high = low - (abs(low) / 20 or 1), high + (abs(high) / 20 or 1)

    def x(at: float) -> float:
        return round(LEFT + (at - since) / (until - since) * (WIDTH - LEFT - 8), 1)

    def y(value: float) -> float:
        return round(TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    runs = _runs(values)
    lines = [" ".join(f"{x(one.at)},{y(one.value)}" for one in run) for run in runs]
    band = [
        " ".join([f"{x(v.at)},{y(v.high)}" for v in run] + [f"{x(v.at)},{y(v.low)}" for v in reversed(run)])
        for run in runs
        if any(one.low != one.high for one in run)
    ]
    y_marks = [(y(value), value) for value in (low, (low + high) / 2, high)]
    form = "%H:%M" if until - since <= 2 * 86_400_000 else "%d %b"
    steps = [since + (until - since) * part // 4 for part in range(5)]
    x_marks = [(x(at), datetime.fromtimestamp(at / 1000, UTC).strftime(form)) for at in steps]
    data = ";".join(f"{v.at},{x(v.at)},{y(v.value)},{v.value:.6g},{v.low:.6g},{v.high:.6g}" for v in values)
    return Chart(name, stream, unit, list(values), lines, band, y_marks, x_marks, data, step)


def _values(session: Session, row: Series, since: int, until: int) -> tuple[list[Value], str]:
    query = telemetry.Query(row.stream, row.name, since, until)
    points = [point for point, _ in telemetry.history(session, row.device_id, query, _POINTS + 1)]
    found = [Value(p.at, p.number, p.number, p.number) for p in reversed(points) if p.number is not None]
    if len(points) <= _POINTS:
        return found, "each value"
    step = rollups.finest(since, until, _POINTS)
    rows = rollups.listed(session, rollups.Query([row.id], step, since, until), _POINTS)
    rolled = [Value(r.at, r.total / r.count, r.least, r.most) for r in reversed(rows)]
    if not rolled:  # they are made a little later than points come
        return found, "the newest values"
    return rolled, f"mean by the {step}, with least and most"


def _runs(values: Sequence[Value]) -> list[list[Value]]:
    """The values, apart where some are missing."""
    if len(values) < 3:
        return [list(values)] if values else []
    usual = median(after.at - before.at for before, after in zip(values, values[1:], strict=False))
    runs = [[values[0]]]
    for before, after in zip(values, values[1:], strict=False):
        if after.at - before.at > max(1, usual) * _GAP:
            runs.append([])
        runs[-1].append(after)
    return runs
