"""How far each piece of housekeeping has come, by name: what it does next time begins there."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from ota_server.store.engine import insert_or_update
from ota_server.store.models import Progress


def get(session: Session, name: str) -> int:
    """0 before its beginning."""
    row = session.get(Progress, name)
    return 0 if row is None else row.value


def get_locked(session: Session, name: str) -> int:
    """The same, and no other server goes on from there until this transaction ends."""
    if session.get(Progress, name) is None:
        put(session, name, 0)
    return session.scalar(select(Progress.value).where(Progress.name == name).with_for_update()) or 0


def put(session: Session, name: str, value: int) -> None:
    """Several servers may do it at once, the first time too."""
    first = insert_or_update(session, Progress).values(name=name, value=value)
    session.execute(first.on_conflict_do_update(index_elements=["name"], set_={"value": value}))
