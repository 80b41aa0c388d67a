"""Alarms of devices and of the server itself, and counters for what is not worth a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from ota_server.store import alarm_handling, webhooks
from ota_server.store.engine import insert_or_update, lock
from ota_server.store.models import Alarm, Counter, now_ms
from ota_server.store.pages import Place, page

_ORDER_LOCK = 0x7469646567617465  # the audit log's too: two locks could be taken in two orders
COALESCE_MS = 60_000  # the server's alarms of one kind about one device in this time are one row with a count


class Only(NamedTuple):
    """Which alarms a list has. state: one of tidegate.wire.alarm_states, None for all."""

    kind: str | None = None
    state: str | None = None

    def of(self, statement: Select[Any], device_id: str | None = None) -> Select[Any]:
        """The statement for only these, of one device or of all."""
        if device_id is not None:
            statement = statement.where(Alarm.device_id == device_id)
        if self.kind is not None:
            statement = statement.where(Alarm.kind == self.kind)
        if self.state is not None:
            was_seen = Alarm.acknowledged_at.is_not(None)
            statement = statement.where(was_seen if self.state == "acknowledged" else ~was_seen)
        return statement.where(~alarm_handling.is_covered()) if self.state == "calling" else statement


def add(
    session: Session,
    device_id: str,
    kind: str,
    reason: str,
    detail: str | None,
    cti: str | None,
    count: int,
    trace: str | None = None,
    content: str | None = None,
    occurrence: int = 0,
) -> Alarm:
    """An alarm that a device sent; `count` includes those it suppressed. content, occurrence: as of Report."""
    _in_order(session)
    row = Alarm(
        device_id=device_id,
        source="device",
        kind=kind,
        reason=reason,
        detail=detail,
        cti=cti,
        count=count,
        trace=trace,
        content=content,
        occurrence=occurrence,
        last_at=now_ms(),
    )
    session.add(row)
    _announce(session, device_id, "device", kind, reason, detail, count)
    return row


def raise_server_alarm(
    session: Session, device_id: str | None, kind: str, reason: str, detail: str, count: int = 1
) -> None:
    """An alarm of the server. A peer that repeats its mistake raises a count, not a flood of rows."""
    now = now_ms()
    same = session.scalar(
        select(Alarm)
        .where(
            Alarm.device_id == device_id if device_id is not None else Alarm.device_id.is_(None),
            Alarm.source == "server",
            Alarm.kind == kind,
            Alarm.reason == reason,
            Alarm.last_at.between(now - COALESCE_MS + 1, now + COALESCE_MS),  # a clock may have been set back
        )
        .order_by(Alarm.id.desc())
        .limit(1)
    )
    if same is not None:
        same.count += count
        same.last_at = now
        return
    _in_order(session)
    session.add(Alarm(device_id=device_id, source="server", kind=kind, reason=reason, detail=detail[:256], count=count))
    _announce(session, device_id, "server", kind, reason, detail[:256], count)


def _announce(
    session: Session, device_id: str | None, source: str, kind: str, reason: str, detail: str | None, count: int
) -> None:
    if alarm_handling.is_muted(session, device_id, kind):
        return
    facts = {"device": device_id, "source": source, "kind": kind, "reason": reason, "detail": detail, "count": count}
    webhooks.announce(session, "alarm.raised", facts)


def listed(
    session: Session,
    limit: int,
    device_id: str | None = None,
    place: Place = Place(),  # noqa: B008
    only: Only = Only(),  # noqa: B008
) -> list[Alarm]:
    """Newest first, unless the place says otherwise."""
    return list(session.scalars(page(only.of(select(Alarm), device_id), Alarm.id, limit, place)))


def _in_order(session: Session) -> None:
    """Have new ids become visible in their order, so that who polls for newer ones misses none.

    SQLite has one writer at a time; PostgreSQL gives ids out before their transactions end.
    """
    lock(session, _ORDER_LOCK)


def last_crashes(session: Session, device_ids: Sequence[str]) -> dict[str, Alarm]:
    """The newest crash of each device that had one."""
    of = (Alarm.device_id.in_(device_ids)) & (Alarm.kind == "crash") & (Alarm.source == "device")
    newest = select(func.max(Alarm.id)).where(of).group_by(Alarm.device_id)
    return {str(row.device_id): row for row in session.scalars(select(Alarm).where(Alarm.id.in_(newest)))}


def count(session: Session, name: str, by: int = 1) -> None:
    """Add to a counter, in the database: several workers may do it at once, the first time too."""
    first = insert_or_update(session, Counter).values(name=name, value=by)
    session.execute(first.on_conflict_do_update(index_elements=["name"], set_={"value": Counter.value + by}))


def counters(session: Session) -> dict[str, int]:
    return {row.name: row.value for row in session.scalars(select(Counter))}
