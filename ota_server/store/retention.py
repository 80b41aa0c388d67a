"""Bounds the tables: rows of each kind per device, and the age of telemetry.

What is beyond a limit is found without a lock, a few hundred rows or devices at a time, and deleted in transactions of
a few hundred rows: whoever else writes waits for one of these, not for all. Points go by stretches of time, of which
PostgreSQL, where writers do not wait for each other, takes thousands at once. Only devices that got new rows since the
last time are looked at; how far that went is in the table `progress`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, bindparam, delete, func, or_, select, update
from sqlalchemy.orm import Session

from ota_server.config import (
    KEEP_ALARMS,
    KEEP_COMMANDS,
    KEEP_EVENTS,
    KEEP_REPORTS,
    KEEP_TELEMETRY,
    KEEP_TELEMETRY_DAYS,
)
from ota_server.store import commands, partitions, progress
from ota_server.store.engine import Store
from ota_server.store.models import Alarm, Command, CommandStep, Device, DeviceEvent, Point, Report, Series, now_ms
from tidegate.wire.command_states import ENDED

LOOK = 500  # rows, devices or series in one read
BATCH = 300  # rows deleted in one transaction
BATCH_APART = 5000  # points, where nobody waits for the rows of others
COMMANDS_BATCH = 20  # a command has its history and up to a thousand parts of output
_DAY_MS = 86_400_000

Between = Callable[[], bool]  # called between two transactions; whether to go on


class Keep(NamedTuple):
    """How much telemetry is stored."""

    days: float = KEEP_TELEMETRY_DAYS
    rows: int = KEEP_TELEMETRY  # of each device


class Kind(NamedTuple):
    """One kind of rows of which a device has at most so many.

    new: (number, device id) of what was added after a number, in order. rows: ids of those that count.
    """

    name: str
    table: Any
    keep: int
    batch: int
    new: Callable[[int], Any]
    rows: Callable[[Any], Any]


def _kind(name: str, table: type[Report | Alarm | DeviceEvent], keep: int) -> Kind:
    def new(after: int) -> Any:
        return select(table.id, table.device_id).where(table.id > after).order_by(table.id)

    return Kind(name, table, keep, BATCH, new, lambda device: select(table.id).where(table.device_id == device))


def _new_ends(after: int) -> Any:
    statement = select(CommandStep.id, Command.device_id).join(Command, Command.id == CommandStep.command_id)
    return statement.where(CommandStep.id > after, CommandStep.state.in_(ENDED)).order_by(CommandStep.id)


def _ended(device: Any) -> Any:
    return select(Command.id).where(Command.device_id == device, Command.state.in_(ENDED))


def kinds() -> tuple[Kind, ...]:
    return (
        _kind("reports", Report, KEEP_REPORTS),
        _kind("alarms", Alarm, KEEP_ALARMS),
        _kind("events", DeviceEvent, KEEP_EVENTS),
        Kind("commands", Command, KEEP_COMMANDS, COMMANDS_BATCH, _new_ends, _ended),
    )


def _always() -> bool:
    return True


def prune_rows(store: Store, between: Between = _always) -> int:
    """Delete the oldest reports, alarms, events and ended commands of devices that have too many; returns how many."""
    return sum(_prune(store, kind, between) for kind in kinds())


def _prune(store: Store, kind: Kind, between: Between) -> int:
    gone = 0
    name = f"{kind.name} above {kind.keep}"  # with another limit everything is looked at again
    while True:
        with store.read() as session:
            new = session.execute(kind.new(progress.get(session, name)).limit(LOOK)).all()
            borders = _borders(session, kind, {row[1] for row in new if row[1] is not None})
        if not new:
            return gone
        for device, border in borders:
            for ids in _chunks(store, kind.rows(device).where(kind.table.id <= border), kind.table.id, kind.batch):
                with store.write() as session:
                    session.execute(delete(kind.table).where(kind.table.id.in_(ids)))
                gone += len(ids)
                if not between():
                    return gone
        with store.write() as session:
            progress.put(session, name, new[-1][0])
        if len(new) < LOOK or not between():
            return gone


def _borders(session: Session, kind: Kind, devices: set[str]) -> list[tuple[str, int]]:
    """Which of the devices have too many rows, each with the newest id that is too much."""
    border = kind.rows(Device.id).order_by(kind.table.id.desc()).offset(kind.keep).limit(1)
    statement = select(Device.id, border.correlate(Device).scalar_subquery()).where(Device.id.in_(devices))
    return [(row[0], row[1]) for row in session.execute(statement) if row[1] is not None]


def _chunks(store: Store, statement: Any, order: Any, size: int) -> Iterator[Sequence[int]]:
    """The ids that a statement gives, the lowest first; the caller deletes each chunk before it takes the next."""
    while True:
        with store.read() as session:
            ids = session.scalars(statement.order_by(order).limit(size)).all()
        if ids:
            yield ids
        if len(ids) < size:
            return


def erase_commands(store: Store) -> int:
    """Erase messages of commands that ended without an answer and have expired; at most `commands.BATCH`."""
    with store.read() as session:
        if not commands.erasable(session):
            return 0
    with store.write() as session:
        return commands.erase(session)


# ---------------------------------------------------------------- telemetry


def prune_old(store: Store, keep: Keep, between: Between = _always) -> int:
    """Delete points that are older than `keep.days`, by whole partitions where there are some; returns how many."""
    border, gone, last = now_ms() - round(keep.days * _DAY_MS), 0, 0
    if partitions.are_there(store):
        partitions.make_ahead(store, now_ms())
        gone = partitions.drop_old(store, border)
        border = partitions.border_for_rows(store, border)
    oldest = select(func.min(Point.at)).where(Point.series_id == Series.id).correlate(Series).scalar_subquery()
    while True:
        with store.read() as session:
            # The newest point stays: a table that is empty may count from 1 again, and followers know higher numbers.
            spared = session.scalar(select(func.max(Point.id))) or 0
            found = session.execute(select(Series.id, oldest).where(Series.id > last).order_by(Series.id).limit(LOOK))
            rows = [(row[0], row[1]) for row in found]
        some = [series for series, at in rows if at is not None and at < border]
        done, goes_on = _delete_before(store, some, border, between, Point.id != spared)
        gone += done
        if not goes_on:
            return gone
        if len(rows) < LOOK or not between():
            return gone
        last = rows[-1][0]


def prune_many(store: Store, keep: Keep, between: Between = _always) -> int:
    """Delete the oldest points of devices that have more than `keep.rows`; returns how many."""
    gone, last = 0, ""
    held = func.sum(Series.points)
    while True:
        with store.read() as session:
            found = select(Series.device_id, held).where(Series.device_id > last).group_by(Series.device_id)
            rows = [(row[0], int(row[1])) for row in session.execute(found.order_by(Series.device_id).limit(LOOK))]
        for device, over in [(device, count - keep.rows) for device, count in rows if count > keep.rows]:
            done, goes_on = _delete_oldest(store, device, over, between)
            gone += done
            if not goes_on:
                return gone
        if len(rows) < LOOK or not between():
            return gone
        last = rows[-1][0]


def _delete_oldest(store: Store, device: str, count: int, between: Between) -> tuple[int, bool]:
    """Of all series of the device together; as `_delete_before`."""
    with store.read() as session:
        series = session.scalars(select(Series.id).where(Series.device_id == device)).all()
        theirs = Point.series_id.in_(series)
        oldest = select(Point.at, Point.id).where(theirs).order_by(Point.at, Point.id)
        stays = session.execute(oldest.offset(count).limit(1)).first()
    if stays is None:  # there are fewer than we counted
        with store.write() as session:
            left = select(func.count(Point.id)).where(Point.series_id == Series.id).scalar_subquery()
            session.execute(update(Series).where(Series.id.in_(series)).values(points=left))
        return 0, between()
    if count <= _most(store):
        older = or_(Point.at < stays.at, (Point.at == stays.at) & (Point.id < stays.id))
        return _delete(store, theirs & older), between()
    gone, goes_on = _delete_before(store, series, stays.at, between)
    if goes_on and gone < count:  # of the same time as the first that stays, but filed before it
        gone += _delete(store, theirs & (Point.at == stays.at) & (Point.id < stays.id))
        goes_on = between()
    return gone, goes_on


def _most(store: Store) -> int:
    """Points deleted in one transaction."""
    return BATCH_APART if store.on_postgresql else BATCH


def _stretch(series: Sequence[int], start: int, end: int) -> ColumnElement[bool]:
    """Points of these series from `start` on, before `end`. Times say in which weeks PostgreSQL has to look."""
    return and_(Point.series_id.in_(series), Point.at >= start, Point.at < end)


def _delete_before(
    store: Store, series: Sequence[int], border: int, between: Between, *only: ColumnElement[bool]
) -> tuple[int, bool]:
    """Delete the points of these series that are older than `border` (ms since 1970), the oldest first.

    They are counted once and cut into stretches of time with about as many points as one transaction may have; each is
    one statement. Returns how many went, and whether to go on.
    """
    if not series:
        return 0, True
    old = and_(Point.series_id.in_(series), Point.at < border, *only)
    number = func.row_number().over(order_by=Point.at).label("number")
    numbered = select(Point.at.label("at"), number).where(old).subquery()
    first = select(numbered.c.at).where(numbered.c.number % _most(store) == 1).order_by(numbered.c.number)
    with store.read() as session:
        starts = session.scalars(first).all()
    gone = 0
    for start, end in zip(starts, [*starts[1:], border], strict=True):
        if start < end:
            gone += _delete(store, and_(_stretch(series, start, end), *only))
            if not between():
                return gone, False
    return gone, True


def _delete(store: Store, which: ColumnElement[bool]) -> int:
    """Delete points in one transaction, and count what is left of each series; returns how many went."""
    table: Any = Series.__table__
    with store.write() as session:
        gone = Counter(session.connection().scalars(delete(Point).where(which).returning(Point.series_id)))
        fewer = update(table).where(table.c.id == bindparam("series")).values(points=Series.points - bindparam("by"))
        if gone:
            session.connection().execute(fewer, [{"series": row, "by": by} for row, by in sorted(gone.items())])
    return gone.total()
