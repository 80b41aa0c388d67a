"""The way of a command, from the API to its answer:

    pending -> verified -> uplinked -> confirmed -> archived

or it ends as refused, expired or cancelled. Every step is one conditional UPDATE, so that of several workers, people
and answers that want the same row exactly one succeeds, and each leaves a `CommandStep`.

What a device answers (`outcome`) counts from every state: it tells what happened, and an alarm, a clock or a person
here only what we believed. It answers once; what comes after the first answer changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session, aliased

from ota_server.store.command_output import MOST_PARTS
from ota_server.store.models import Command, CommandStep, Device, now_ms
from ota_server.store.pages import Place, page
from tidegate.wire.command_states import ENDED, OPEN, STATES

MOST_OPEN = 64  # commands that wait for one device
EXPIRY_GRACE_MS = 10_000  # an answer may still be on its way when the time is over
LEASE_MS = 30_000  # no other worker sends it for so long after one began to
MOST_IN_FLIGHT = 4  # commands a device has and has not answered: its queue
FLIGHT_MS = 120_000  # the longest that a command runs; one without an answer by then blocks no others
BATCH = 500  # rows in one transaction


def get(session: Session, cti: str, device_id: str | None = None) -> Command | None:
    """The newest command with this counter: it is unique in the commands of one key to one device."""
    statement = select(Command).where(Command.cti == cti).order_by(Command.id.desc()).limit(1)
    if device_id is not None:
        statement = statement.where(Command.device_id == device_id)
    return session.scalar(statement)


def listed(
    session: Session,
    limit: int,
    device_id: str | None = None,
    group: str | None = None,
    state: str | None = None,
    place: Place = Place(),  # noqa: B008
) -> list[Command]:
    """Newest first, unless the place says otherwise."""
    statement = page(select(Command), Command.id, limit, place)
    if device_id is not None:
        statement = statement.where(Command.device_id == device_id)
    if group is not None:
        statement = statement.join(Device, Device.id == Command.device_id).where(Device.group == group)
    if state is not None:
        statement = statement.where(Command.state == state)
    return list(session.scalars(statement))


def steps(session: Session, rows: Sequence[Command]) -> dict[int, list[CommandStep]]:
    """The history of each, oldest step first."""
    found: dict[int, list[CommandStep]] = {row.id: [] for row in rows}
    for step in session.scalars(select(CommandStep).where(CommandStep.command_id.in_(found)).order_by(CommandStep.id)):
        found[step.command_id].append(step)
    return found


def last_done(session: Session, device_id: str, opcode: str) -> Command | None:
    """The newest that the device carried out."""
    statement = select(Command).where(
        Command.device_id == device_id, Command.opcode == opcode, Command.outcome == "done"
    )
    return session.scalar(statement.order_by(Command.id.desc()).limit(1))


def count_open(session: Session, device_id: str) -> int:
    statement = select(func.count(Command.id)).where(Command.device_id == device_id, Command.state.in_(OPEN))
    return session.scalar(statement) or 0


def add(session: Session, row: Command, by: str) -> None:
    """A new one, in the state it has."""
    session.add(row)
    session.flush()
    session.add(CommandStep(command_id=row.id, state=row.state, by=by))


def move(
    session: Session,
    row: int,
    came_from: tuple[str, ...],
    state: str,
    by: str,
    note: str | None = None,
    *only: ColumnElement[bool],
    **values: Any,
) -> bool:
    """One step, if the command is still in one of the states `came_from` and the conditions hold; else nothing."""
    done = session.execute(
        update(Command)
        .where(Command.id == row, Command.state.in_(came_from), *only)
        .values(state=state, **values)
        .execution_options(synchronize_session=False)
    )
    if done.rowcount != 1:  # type: ignore[attr-defined]
        return False
    session.add(CommandStep(command_id=row, state=state, by=by, why=note and note[:256]))
    return True


def verified(session: Session, row: int, role: str) -> bool:
    return move(session, row, ("pending",), "verified", "server", f"signed by {role} keys", role=role)


def refused(session: Session, row: int, why: str) -> bool:
    """The server will not send it: no device would carry it out."""
    return move(session, row, ("pending", "verified"), "refused", "server", why, ended_at=now_ms(), why=why[:256])


def cancel(session: Session, row: int, by: str) -> bool:
    """Cancel it, if no worker has begun to send it. The signed message is erased: it would still be valid."""
    unsent = Command.claimed_at.is_(None)
    gone = {"ended_at": now_ms(), "message": None}
    return move(session, row, ("pending", "verified"), "cancelled", by, None, unsent, **gone)


def pending(session: Session, limit: int) -> list[Command]:
    """Those whose signatures have not been checked yet, oldest first."""
    statement = select(Command).where(Command.state == "pending", Command.expires_at > now_ms())
    return list(session.scalars(statement.order_by(Command.id).limit(limit)))


def waiting(now: int) -> ColumnElement[bool]:
    """The condition for a command to go out.

    It is checked, in time, not in another worker's hands, the oldest of its device (counters must rise), and the
    device's queue has room.
    """
    free = or_(Command.claimed_at.is_(None), Command.claimed_at < now - LEASE_MS)
    before, other = aliased(Command), aliased(Command)
    first = ~exists().where(
        before.device_id == Command.device_id,
        before.id < Command.id,
        before.state == "verified",
        before.expires_at > now,
    )
    busy = (
        select(func.count(other.id))
        .join(Device, Device.id == other.device_id)
        .where(
            other.device_id == Command.device_id,
            other.state == "uplinked",
            other.uplinked_at > now - FLIGHT_MS,
            other.uplinked_at > func.coalesce(Device.birth_at, 0),  # what it had not begun, a reset made it forget
        )
        .correlate(Command)
        .scalar_subquery()
    )
    fit = (Command.state == "verified") & (Command.expires_at > now) & Command.message.is_not(None)
    return fit & free & first & (busy < MOST_IN_FLIGHT)


def sendable(session: Session, limit: int) -> list[Command]:
    """Commands that may go out now to devices that are online, one per device.

    A device that speaks CoAP fetches its own (`downlink`).
    """
    statement = (
        select(Command)
        .join(Device, Device.id == Command.device_id)
        .where(waiting(now_ms()), Device.online, Device.protocol != "coap", Device.revoked_at.is_(None))
    )
    return list(session.scalars(statement.order_by(Command.id).limit(limit)))


def claim(session: Session, row: int) -> bool:
    """Reserve it for sending, so that it is not sent or cancelled meanwhile.

    A worker that dies then has perhaps sent it. The lease runs out and it goes out again: a device carries it out
    once, whatever it hears.
    """
    now = now_ms()
    done = session.execute(
        update(Command)
        .where(Command.id == row, waiting(now))
        .values(claimed_at=now)
        .execution_options(synchronize_session=False)
    )
    return done.rowcount == 1  # type: ignore[attr-defined]


def uplinked(session: Session, row: int, by: str) -> bool:
    """The broker has it, or the device itself (CoAP)."""
    return move(session, row, ("verified",), "uplinked", "server", f"taken by {by}", uplinked_at=now_ms())


def claim_all(session: Session, rows: Sequence[int]) -> list[Command]:
    """Those of the rows that this worker now has for itself, as `claim`; others may claim different ones meanwhile."""
    now = now_ms()
    mine = select(Command).where(Command.id.in_(rows), waiting(now)).order_by(Command.id)
    found = list(session.scalars(mine.with_for_update(skip_locked=True, of=Command)))
    session.execute(update(Command).where(Command.id.in_([row.id for row in found])).values(claimed_at=now))
    return found


def all_uplinked(session: Session, rows: Sequence[int], by: str) -> None:
    """As `uplinked`, of many; one that is answered already stays so."""
    this = (Command.id.in_(rows)) & (Command.state == "verified")
    moved = update(Command).where(this).values(state="uplinked", uplinked_at=now_ms()).returning(Command.id)
    steps = {"state": "uplinked", "by": "server", "why": f"taken by {by}"}
    done = session.scalars(moved.execution_options(synchronize_session=False)).all()
    if done:
        session.execute(insert(CommandStep), [{"command_id": row, **steps} for row in sorted(done)])


def unsent(session: Session, device_id: str, message: bytes) -> None:
    """A device did not acknowledge this command: it waits again."""
    this = (Command.device_id == device_id) & (Command.message == message) & (Command.state == "uplinked")
    for row in session.scalars(select(Command.id).where(this)).all():
        why = "the device did not acknowledge it"
        move(session, row, ("uplinked",), "verified", "server", why, uplinked_at=None, claimed_at=None)


def over(session: Session) -> bool:
    """Whether `end` would do anything: called often, so it takes no lock."""
    found = (select(Command.id).where(which).limit(1).exists() for which in (_late(), _missed(), _archivable()))
    return bool(session.scalar(select(or_(*found))))


def end(session: Session) -> None:
    """Expire what is open and late, or was forgotten by its device; archive what was answered and has expired.

    Rows that another transaction holds are left for the next time: nothing here waits for a row.
    """
    for row, state in _taken(session, _late()):
        why = "no answer before it expired" if state == "uplinked" else "it could not be sent before it expired"
        move(session, row, OPEN, "expired", "server", why, ended_at=now_ms(), why=why)
    for row, _ in _taken(session, _missed()):
        why = "the board restarted before it answered; send it again"
        move(session, row, ("uplinked",), "expired", "server", why, ended_at=now_ms(), why=why)
    for row, _ in _taken(session, _archivable()):
        move(session, row, ("confirmed",), "archived", "server", "the signed message is erased", message=None)


def erasable(session: Session) -> bool:
    """Whether `erase` would do anything."""
    return session.scalar(select(Command.id).where(_erasable()).limit(1)) is not None


def erase(session: Session) -> int:
    """Erase the messages of what ended in another way and is past its expiry, at most `BATCH`; returns how many."""
    rows = [row for row, _ in _taken(session, _erasable())]
    session.execute(update(Command).where(Command.id.in_(rows)).values(message=None))
    return len(rows)


def _taken(session: Session, which: ColumnElement[bool]) -> list[tuple[int, str]]:
    """(row, state) of those, locked until the transaction ends."""
    statement = select(Command.id, Command.state).where(which).order_by(Command.id).limit(BATCH)
    return [(row[0], row[1]) for row in session.execute(statement.with_for_update(skip_locked=True, of=Command))]


def _past() -> ColumnElement[bool]:
    return Command.expires_at < now_ms() - EXPIRY_GRACE_MS


def _late() -> ColumnElement[bool]:
    return Command.state.in_(OPEN) & _past()


def _archivable() -> ColumnElement[bool]:
    return (Command.state == "confirmed") & _past()


def _erasable() -> ColumnElement[bool]:
    return Command.message.is_not(None) & _past() & Command.state.in_(("refused", "expired", "cancelled"))


def _missed() -> ColumnElement[bool]:
    """Sent, not answered, and made for a boot that is over; a board that was in the middle of it has said so by now."""
    reborn = exists().where(
        Device.id == Command.device_id,
        Device.nonce != Command.nonce,
        Device.birth_at > Command.uplinked_at,
        Device.birth_at < now_ms() - EXPIRY_GRACE_MS,
    )
    return (Command.state == "uplinked") & reborn


def answered(
    session: Session, device_id: str, cti: str, outcome: str, result: Any, why: str | None, parts: int | None = None
) -> Command | None:
    """The device's answer; None when it answers nothing we know, or nothing that has no answer yet."""
    row = get(session, cti, device_id)
    if row is None:
        return None
    state = "refused" if outcome == "refused" else "confirmed"
    was = row.state
    late = {"expired": "after it had expired here", "cancelled": "although it was cancelled here"}.get(was)
    said = ", ".join(part for part in (why or outcome, late) if part)
    fresh = Command.outcome.is_(None)
    parts = None if parts is None else min(parts, MOST_PARTS + 1)
    values = {"outcome": outcome, "result": result, "parts": parts, "why": why and why[:256], "ended_at": now_ms()}
    if not move(session, row.id, STATES, state, f"device {device_id}", said, fresh, **values):
        return None
    session.refresh(row)
    return row


def declined(session: Session, device_id: str, cti: str, reason: str) -> None:
    """Note that a device raised an alarm about a command with this counter.

    Anybody could have made it say so by a forged command, so this ends the waiting, and an answer of the device
    still counts.
    """
    row = get(session, cti, device_id)
    if row is not None and row.outcome is None:
        move(session, row.id, OPEN, "refused", f"device {device_id}", reason, ended_at=now_ms(), why=reason[:256])


def forget(session: Session, device_id: str, keep: int) -> None:
    """Delete all but the newest `keep` ended commands of a device, with their history and output."""
    ended = select(Command.id).where(Command.device_id == device_id, Command.state.in_(ENDED))
    border = session.scalar(ended.order_by(Command.id.desc()).offset(keep).limit(1))
    if border is not None:
        old = (Command.device_id == device_id) & Command.state.in_(ENDED) & (Command.id <= border)
        session.execute(delete(Command).where(old).execution_options(synchronize_session=False))
