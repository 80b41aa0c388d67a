"""Commands: pending -> sent -> done, failed or refused; or expired when nobody answered in time."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from .models import Command, Device, now_ms

OPEN = ("pending", "sent")
EXPIRY_GRACE_MS = 10_000  # an answer may still be on its way when the time is over


def newest(session: Session, cti: str, device_id: str | None = None) -> Command | None:
    wanted = select(Command).where(Command.cti == cti).order_by(Command.id.desc()).limit(1)
    if device_id is not None:
        wanted = wanted.where(Command.device_id == device_id)
    return session.scalar(wanted)


def listed(session: Session, limit: int, device_id: str | None = None) -> list[Command]:
    wanted = select(Command).order_by(Command.id.desc()).limit(limit)
    if device_id is not None:
        wanted = wanted.where(Command.device_id == device_id)
    return list(session.scalars(wanted))


def sendable(session: Session, limit: int) -> list[tuple[int, str, bytes]]:
    """(row, device, message) of pending commands whose device is there to hear them, oldest first. A device that speaks
    CoAP fetches its own (`downlink`)."""
    wanted = (
        select(Command.id, Command.device_id, Command.message)
        .join(Device, Device.id == Command.device_id)
        .where(Command.state == "pending", Command.expires_at > now_ms(), Device.online, Device.protocol != "coap")
        .order_by(Command.id)
        .limit(limit)
    )
    return [(row[0], row[1], row[2]) for row in session.execute(wanted)]


def claim(session: Session, row: int) -> bool:
    """Mark it sent before it goes out: a crash in between loses a command, it never sends one twice."""
    done = session.execute(
        update(Command).where(Command.id == row, Command.state == "pending").values(state="sent", sent_at=now_ms())
    )
    return done.rowcount == 1  # type: ignore[attr-defined]


def unclaim(session: Session, row: int) -> None:
    """The broker did not take it: it waits again."""
    session.execute(
        update(Command).where(Command.id == row, Command.state == "sent").values(state="pending", sent_at=None)
    )


def unsent(session: Session, device_id: str, message: bytes) -> None:
    """A device did not acknowledge this command: it waits again."""
    this = (Command.device_id == device_id) & (Command.message == message) & (Command.state == "sent")
    session.execute(update(Command).where(this).values(state="pending", sent_at=None))


def overdue(session: Session) -> bool:
    """Whether `expire` would do anything: asked often, so it takes no lock."""
    wanted = select(Command.id).where(Command.state.in_(OPEN), Command.expires_at < now_ms() - EXPIRY_GRACE_MS)
    return session.scalar(wanted.limit(1)) is not None


def expire(session: Session) -> int:
    """Give up on open commands whose time is over; returns how many."""
    done = session.execute(
        update(Command)
        .where(Command.state.in_(OPEN), Command.expires_at < now_ms() - EXPIRY_GRACE_MS)
        .values(state="expired", ended_at=now_ms(), why="no answer before it expired")
    )
    return done.rowcount  # type: ignore[attr-defined]


def ended(session: Session, device_id: str, cti: str, state: str, result: Any, why: str | None) -> bool:
    """The device's answer. False when it answers nothing we sent, or repeats itself."""
    command = newest(session, cti, device_id)
    if command is None or command.state not in (*OPEN, "expired"):
        return False
    command.state, command.result, command.why, command.ended_at = state, result, why, now_ms()
    return True
