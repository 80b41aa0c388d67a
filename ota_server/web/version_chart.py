"""The share of devices by version over the last 30 days, as areas that lie on each other."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from sqlalchemy.orm import Session

from ota_server.store import version_counts
from ota_server.store.clock import to_the_day

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 480, 170, 40, 22, 8
DAYS = 30
_DAY_MS = 86_400_000
_SHOWN = 6  # versions with a colour of their own
_OTHERS = "others"


class Area(NamedTuple):
    """One version. points: of SVG. share: in percent, at the end. number: of its colour, from 0 on."""

    name: str
    points: str
    share: float
    number: int


class Chart(NamedTuple):
    """areas: from the bottom up, the version that most devices run now first. x_marks: (x, text)."""

    areas: list[Area]
    x_marks: list[tuple[float, str]]
    rows: list[tuple[str, list[tuple[str, float]]]]  # (day, [(version, percent)]): the same as a table


def draw(session: Session, now: int) -> Chart | None:
    """None until there are two counts. now: ms since 1970."""
    counted = version_counts.since(session, now - DAYS * _DAY_MS)
    many_products = len({row.product for row in counted}) > 1
    slots: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in counted:
        name = (f"{row.product} {row.version}" if many_products else row.version) if row.version else _OTHERS
        slots[row.slot][name] += row.devices
    if len(slots) < 2:
        return None
    times = sorted(slots)
    weight: dict[str, tuple[int, int]] = {}
    for at in times:
        for name, many in slots[at].items():
            weight[name] = (slots[times[-1]].get(name, 0), weight.get(name, (0, 0))[1] + many)
    names = sorted((name for name in weight if name != _OTHERS), key=lambda name: weight[name], reverse=True)[:_SHOWN]
    shares = {at: _shares(slots[at], names) for at in times}
    if any(shares[at].get(_OTHERS) for at in times):
        names = [*names, _OTHERS]
    first, span = times[0], times[-1] - times[0]

    def x(at: int) -> float:
        return round(LEFT + (WIDTH - LEFT) * (at - first) / span, 1)

    areas, below = [], dict.fromkeys(times, 0.0)
    for number, name in enumerate(names):
        above = {at: below[at] + shares[at].get(name, 0.0) for at in times}
        edge = [*((at, above[at]) for at in times), *((at, below[at]) for at in reversed(times))]
        points = " ".join(f"{x(at):g},{_y(percent):g}" for at, percent in edge)
        areas.append(Area(name, points, round(shares[times[-1]].get(name, 0.0), 1), number))
        below = above
    marks = [(x(at), to_the_day(at)) for at in (times[0], times[-1])]
    days = {to_the_day(at): at for at in times}  # the last count of each day
    rows = [(day, [(name, round(shares[at].get(name, 0.0), 1)) for name in names]) for day, at in days.items()]
    return Chart(areas, marks, rows[::-1])


def _shares(counts: dict[str, int], names: list[str]) -> dict[str, float]:
    """Percent of all devices by version; those without a name of their own together."""
    whole = sum(counts.values()) or 1
    found = {name: 100 * counts[name] / whole for name in names if counts.get(name)}
    rest = sum(many for name, many in counts.items() if name not in names)
    return {**found, **({_OTHERS: 100 * rest / whole} if rest else {})}


def _y(percent: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - percent / 100), 1)
