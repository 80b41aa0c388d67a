"""Times in which nobody heard the devices, since the server or its broker was away. Deadlines stand still in them.

Otherwise a server that comes back after a night would find half of a wave overdue, and pause a rollout without a fault.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, ColumnElement, Select, case, cast, delete, func, literal, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from ota_server.store import progress
from ota_server.store.models import Absence, RolloutDevice

EACH_MS = 30_000  # so often it is noted that devices are heard
LEAST_MS = 120_000  # what is shorter is no absence
SETTLE_MS = 600_000  # after it, until devices have connected again, have said what they did, and went on with it
KEEP_MS = 90 * 86_400_000
_HEARD = "devices heard"


def heard(session: Session, now: int) -> bool:
    """Note that devices are heard now, in ms; whether that ends an absence, which is noted, too."""
    last = progress.get_locked(session, _HEARD)
    if 0 <= now - last < EACH_MS:
        return False
    progress.put(session, _HEARD, now)
    if not last or now - last < LEAST_MS:
        return False
    session.add(Absence(began=last, ended=now + SETTLE_MS))
    session.execute(delete(Absence).where(Absence.ended < now - KEEP_MS))
    return True


def is_due(session: Session, now: int) -> bool:
    """Whether `heard` has something to write."""
    return not 0 <= now - progress.get(session, _HEARD) < EACH_MS


def since(start: ColumnElement[int] | InstrumentedAttribute[int]) -> ColumnElement[int]:
    """How many ms of a row's time from `start` on were absences, in a statement on `RolloutDevice`."""
    return _sum(start).correlate(RolloutDevice).scalar_subquery()


def after(session: Session, start: int) -> int:
    """How many ms from `start` on were absences."""
    return session.scalar(_sum(literal(start))) or 0


def _sum(start: ColumnElement[int] | InstrumentedAttribute[int]) -> Select[int]:
    away = Absence.ended - case((Absence.began > start, Absence.began), else_=start)
    # PostgreSQL sums whole numbers to decimal ones.
    return select(cast(func.coalesce(func.sum(away), 0), BigInteger)).select_from(Absence).where(Absence.ended > start)
