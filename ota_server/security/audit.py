"""The audit log: who did what, append-only, each entry chained to the one before by its hash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ota_server.store.engine import lock
from ota_server.store.models import Audit, now_ms
from tidegate.audit_chain import GENESIS, Entry, Head, entry_hash

_BATCH = 500
_LOCK = 0x7469646567617465  # any number, but always the same


def record(session: Session, actor: str, action: str, subject: str, **detail: Any) -> None:
    """Append an entry in the caller's transaction: the act and its record are committed together or not at all."""
    record_all(session, actor, action, [(subject, detail)])


def record_all(session: Session, actor: str, action: str, acts: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Append an entry for each of these subjects and details, in one statement."""
    take_turn(session)
    last = session.scalar(select(Audit.hash).order_by(Audit.id.desc()).limit(1)) or GENESIS
    at = now_ms()
    for subject, given in acts:
        detail = dict(given)
        hashed = entry_hash(last, at, actor, action, subject, detail)
        session.add(
            Audit(at=at, actor=actor, action=action, subject=subject, detail=detail, previous=last, hash=hashed)
        )
        last = hashed
    session.flush()


def take_turn(session: Session) -> None:
    """Until the transaction ends nobody else appends an entry."""
    lock(session, _LOCK)


def first_break(session: Session) -> int | None:
    """The id of the first entry that does not follow from the one before it, or None for a whole chain."""
    previous, last_id = GENESIS, 0
    while True:
        rows = session.scalars(select(Audit).where(Audit.id > last_id).order_by(Audit.id).limit(_BATCH)).all()
        if not rows:
            return None
        for row in rows:
            expected = entry_hash(previous, row.at, row.actor, row.action, row.subject, row.detail)
            if row.previous != previous or row.hash != expected:
                return row.id
            previous, last_id = row.hash, row.id


def head(session: Session) -> Head | None:
    """The newest entry's id and hash."""
    row = session.execute(select(Audit.id, Audit.hash).order_by(Audit.id.desc()).limit(1)).first()
    return None if row is None else Head(row.id, row.hash)


def entries(session: Session) -> Iterator[Entry]:
    """All entries, oldest first."""
    last = 0
    while rows := session.scalars(select(Audit).where(Audit.id > last).order_by(Audit.id).limit(_BATCH)).all():
        for row in rows:
            yield Entry(row.id, row.at, row.actor, row.action, row.subject, row.detail, row.hash)
            last = row.id
