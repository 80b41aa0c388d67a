"""One feed of all that happened to a device, read from the tables that have it.

Each table (source) numbers its rows as they come. A place in the feed is one number a source, so going on from a place
misses nothing and repeats nothing, whatever the clock did; times only decide how the sources' rows are merged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, false, or_, select
from sqlalchemy.orm import Session, contains_eager

from ota_server.store.engine import on_postgresql
from ota_server.store.models import Alarm, Audit, Command, CommandStep, DeviceEvent, Report, now_ms

# PostgreSQL gives numbers out before transactions end: a row that is younger may be joined by one with a lower number.
# Reports are filed under the lock of their device's row, alarms and the audit log under one of their own.
SETTLE_MS = 2_000
_SETTLING = "ce"

TRIAL_PHASES = ("trial", "confirmed", "rolled-back")
SETTING_OPCODES = ("config.set", "config.reset")
ACTS = {
    "device.move": "group",
    "device.rename": "name",
    "device.label": "label",
    "device.register": "enrolment",
    "device.enrol": "enrolment",
    "device.credentials": "enrolment",
    "device.product": "enrolment",
    "device.revoke": "enrolment",
}  # of the audit log; commands have their own history
EVENTS = ("birth", "offer", "silence", "gap")

KINDS = (
    "birth", "offer", "silence", "gap", "report", "trial", "command", "settings",
    "alarm", "crash", "enrolment", "group", "name", "label",
)  # fmt: skip

Row = DeviceEvent | Report | Alarm | CommandStep | Audit


class Entry(NamedTuple):
    """One row of a source."""

    source: str
    kind: str
    at: int
    row: Row


class Feed(NamedTuple):
    """A page. since: where to go on for what is newer; before: for what is older, None at the end."""

    entries: list[Entry]
    since: Mapping[str, int]
    before: Mapping[str, int] | None


class _Source(NamedTuple):
    """rows: of a device and some kinds. number: what orders them. entry: of one row that this gives."""

    name: str
    rows: Callable[[str, Collection[str]], Select[Any]]
    number: Any
    entry: Callable[[Any], Entry]


def _events(device: str, kinds: Collection[str]) -> Select[Any]:
    return select(DeviceEvent).where(DeviceEvent.device_id == device, DeviceEvent.kind.in_(kinds))


def _reports(device: str, kinds: Collection[str]) -> Select[Any]:
    of_trial = Report.phase.in_(TRIAL_PHASES)
    return select(Report).where(Report.device_id == device, _either(kinds, trial=of_trial, report=~of_trial))


def _alarms(device: str, kinds: Collection[str]) -> Select[Any]:
    crash = and_(Alarm.kind == "crash", Alarm.source == "device")
    return select(Alarm).where(Alarm.device_id == device, _either(kinds, crash=crash, alarm=~crash))


def _steps(device: str, kinds: Collection[str]) -> Select[Any]:
    sets = Command.opcode.in_(SETTING_OPCODES)
    mine = select(Command.id).where(Command.device_id == device, _either(kinds, settings=sets, command=~sets))
    steps = select(CommandStep).join(Command, Command.id == CommandStep.command_id)
    return steps.where(CommandStep.command_id.in_(mine)).options(contains_eager(CommandStep.command))


def _acts(device: str, kinds: Collection[str]) -> Select[Any]:
    actions = [action for action, kind in ACTS.items() if kind in kinds]
    return select(Audit).where(Audit.subject == device, Audit.action.in_(actions))


def _either(kinds: Collection[str], **conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return or_(false(), *(condition for kind, condition in conditions.items() if kind in kinds))


_SOURCES = (
    _Source("e", _events, DeviceEvent.id, lambda row: Entry("e", row.kind, row.at, row)),
    _Source(
        "r",
        _reports,
        Report.id,
        lambda row: Entry("r", "trial" if row.phase in TRIAL_PHASES else "report", row.at, row),
    ),
    _Source(
        "a",
        _alarms,
        Alarm.id,
        lambda row: Entry("a", "crash" if (row.kind, row.source) == ("crash", "device") else "alarm", row.at, row),
    ),
    _Source(
        "c",
        _steps,
        # A device has few commands and all have many steps: a sum cannot be looked up in the order of all steps.
        CommandStep.id + 0,
        lambda row: Entry("c", "settings" if row.command.opcode in SETTING_OPCODES else "command", row.at, row),
    ),
    _Source("u", _acts, Audit.id, lambda row: Entry("u", ACTS[row.action], row.at, row)),
)
SOURCES = "".join(source.name for source in _SOURCES)


def newest(
    session: Session, device: str, kinds: Collection[str], limit: int, before: Mapping[str, int] | None = None
) -> Feed:
    """The newest entries first; `before`: only what is older than that place."""
    queues: dict[str, list[Entry]] = {}
    since: dict[str, int] = {}
    for source in _SOURCES:
        found = source.rows(device, kinds).order_by(source.number.desc()).limit(limit + 1)
        if before is not None:
            found = found.where(source.number < before.get(source.name, 0))
        entries = [source.entry(row) for row in session.scalars(found)]
        while before is None and any(_is_young(session, entry) for entry in entries):
            entries.pop(0)
        queues[source.name] = entries
        since[source.name] = entries[0].row.id if entries else 0
    taken = _merge(queues, limit, newest_first=True)
    if not any(queues.values()):
        return Feed(taken, since, None)
    lowest = dict(before or {name: head + 1 for name, head in since.items()})
    lowest |= {entry.source: entry.row.id for entry in taken}
    return Feed(taken, since, lowest)


def after(session: Session, device: str, kinds: Collection[str], limit: int, since: Mapping[str, int]) -> Feed:
    """What came after a place, the oldest first."""
    queues: dict[str, list[Entry]] = {}
    for source in _SOURCES:
        found = source.rows(device, kinds).where(source.number > since.get(source.name, 0))
        entries = queues[source.name] = []
        for row in session.scalars(found.order_by(source.number).limit(limit)):
            entry = source.entry(row)
            if _is_young(session, entry):
                break
            entries.append(entry)
    taken = _merge(queues, limit, newest_first=False)
    place = {name: since.get(name, 0) for name in SOURCES} | {entry.source: entry.row.id for entry in taken}
    return Feed(taken, place, None)


def _merge(queues: Mapping[str, list[Entry]], limit: int, *, newest_first: bool) -> list[Entry]:
    """Take up to `limit` entries from the queues' heads by time; the order within a queue stays, whatever its times."""
    taken: list[Entry] = []
    while len(taken) < limit:
        heads = [queue[0] for queue in queues.values() if queue]
        if not heads:
            break
        head = max(heads, key=lambda entry: entry.at) if newest_first else min(heads, key=lambda entry: entry.at)
        taken.append(queues[head.source].pop(0))
    return taken


def _is_young(session: Session, entry: Entry) -> bool:
    return entry.source in _SETTLING and on_postgresql(session) and abs(now_ms() - entry.at) < SETTLE_MS
