"""What people say about alarms: that they have seen one, and which kinds call nobody until when."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, exists, or_, select, update
from sqlalchemy.orm import Session

from ota_server.store.models import Alarm, AlarmMute, now_ms
from ota_server.store.pages import MOST_ID

_LOOK = 500  # of the newest alarms that nobody has acknowledged


def acknowledge(session: Session, numbers: Sequence[int], by: str, note: str | None = None) -> list[int]:
    """Those of these alarms that nobody had acknowledged before."""
    open_ = select(Alarm.id).where(Alarm.id.in_(numbers), Alarm.acknowledged_at.is_(None)).with_for_update()
    found = list(session.scalars(open_))
    seen = {"acknowledged_at": now_ms(), "acknowledged_by": by[:80], "note": note}
    session.execute(update(Alarm).where(Alarm.id.in_(found)).values(seen))
    return found


def mute(session: Session, device_id: str | None, kind: str, until: int, by: str, why: str | None) -> AlarmMute:
    """Alarms of this kind, about this device or all, call nobody until then (ms since 1970)."""
    row = AlarmMute(device_id=device_id, kind=kind, until=until, by=by[:80], why=why)
    session.add(row)
    session.flush()
    return row


def unmute(session: Session, number: int) -> AlarmMute | None:
    """End it now; None if it had ended."""
    row = session.get(AlarmMute, number) if number < MOST_ID else None
    if row is None or row.until <= now_ms():
        return None
    row.until = now_ms()
    return row


def mutes(session: Session) -> list[AlarmMute]:
    """Those in force, the one that ends first first."""
    going = select(AlarmMute).where(AlarmMute.until > now_ms())
    return list(session.scalars(going.order_by(AlarmMute.until, AlarmMute.id)))


def is_muted(session: Session, device_id: str | None, kind: str) -> bool:
    """Whether an alarm of this kind about this device calls nobody now."""
    about = or_(AlarmMute.device_id.is_(None), AlarmMute.device_id == device_id)
    found = select(AlarmMute.id).where(AlarmMute.kind == kind, AlarmMute.until > now_ms(), about).limit(1)
    return session.scalar(found) is not None


def calling(session: Session, since: int) -> list[Alarm]:
    """The newest alarms since then that nobody has acknowledged and no mute covers, newest first; at most _LOOK."""
    found = select(Alarm).where(Alarm.acknowledged_at.is_(None), Alarm.last_at >= since)
    rows = list(session.scalars(found.order_by(Alarm.id.desc()).limit(_LOOK)))
    muted = muted_until(session, rows)
    return [row for row in rows if row.id not in muted]


def muted_until(session: Session, rows: Sequence[Alarm]) -> dict[int, int]:
    """Of those of these alarms that a mute covers now, by id: until when (ms since 1970)."""
    ends: dict[tuple[str | None, str], int] = {}
    for mute in mutes(session):  # the one that ends last wins
        ends[mute.device_id, mute.kind] = mute.until
    of_rows = {row.id: max(ends.get((row.device_id, row.kind), 0), ends.get((None, row.kind), 0)) for row in rows}
    return {number: until for number, until in of_rows.items() if until}


def is_covered() -> ColumnElement[bool]:
    """Of an alarm in a statement: whether a mute covers it now."""
    about = or_(AlarmMute.device_id.is_(None), AlarmMute.device_id == Alarm.device_id)
    return exists().where(AlarmMute.kind == Alarm.kind, AlarmMute.until > now_ms(), about)
