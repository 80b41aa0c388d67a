"""What the database knows of the clock: when servers saw it right, and what a person said of it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from ota_server.store.clock import CLOCK, Clock, Reading
from ota_server.store.models import ClockSeen

_OLD_BOOTS = 16  # rows of earlier boots, and of other machines, that stay
ACCEPT_WITHIN_MS = 600_000  # what a person said holds for the clock that they looked at


def boot_id() -> str:
    """Differs at each boot of a machine, and between machines."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def begin(session: Session, clock: Clock = CLOCK) -> None:
    """Go on from what the servers of this database saw last."""
    mine = session.get(ClockSeen, boot_id())
    if mine is not None:
        clock.begin(Reading(mine.wall, mine.up), same_boot=True)
        return
    newest = session.scalar(select(ClockSeen).order_by(ClockSeen.wall.desc()).limit(1))
    if newest is not None:
        clock.begin(Reading(newest.wall, newest.up), same_boot=False)


def note(session: Session, clock: Clock = CLOCK) -> None:
    """Note when the clock was right last."""
    trusted, boot = clock.trusted(), boot_id()
    mine = session.get(ClockSeen, boot)
    if mine is not None:
        mine.wall, mine.up = trusted
        return
    session.add(ClockSeen(boot=boot, wall=trusted.wall, up=trusted.up))
    session.flush()
    old = select(ClockSeen.boot).order_by(ClockSeen.wall.desc()).offset(_OLD_BOOTS)
    session.execute(delete(ClockSeen).where(ClockSeen.boot.in_(session.scalars(old).all())))


def say_right(session: Session, now: Reading) -> None:
    """A person says that the clock, which shows `now`, is right. Servers on this machine find it here."""
    mine = session.get(ClockSeen, boot_id())
    if mine is None:
        mine = ClockSeen(boot=boot_id(), wall=now.wall, up=now.up)
        session.add(mine)
    mine.accepted = now.wall - now.up


def said_right(session: Session, now: Reading) -> bool:
    """Whether a person said so of the clock as it is now."""
    said = session.scalar(select(ClockSeen.accepted).where(ClockSeen.boot == boot_id()))
    return said is not None and abs(now.wall - now.up - said) <= ACCEPT_WITHIN_MS


def forget_said(session: Session) -> None:
    session.execute(update(ClockSeen).where(ClockSeen.boot == boot_id()).values(accepted=None))
