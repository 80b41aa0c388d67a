"""Telemetry: the history of each measurement and its newest value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from .models import Latest, Measurement


class Value(NamedTuple):
    """One resolved SenML record: `at` in ms since 1970, and a number or a text."""

    name: str
    unit: str | None
    at: int
    number: float | None
    text: str | None


def add(session: Session, device_id: str, stream: str, values: Iterable[Value]) -> None:
    newest: dict[str, Value] = {}
    for value in values:
        session.add(
            Measurement(
                device_id=device_id,
                stream=stream,
                at=value.at,
                name=value.name,
                unit=value.unit,
                number=value.number,
                text=value.text,
            )
        )
        if value.name not in newest or value.at >= newest[value.name].at:
            newest[value.name] = value
    for value in newest.values():
        row = session.get(Latest, (device_id, value.name))
        if row is None:
            row = Latest(device_id=device_id, name=value.name, at=0)
            session.add(row)
        if value.at >= row.at:  # what was stored and forwarded late does not replace what is newer
            row.at, row.unit, row.number, row.text = value.at, value.unit, value.number, value.text


def latest(session: Session, device_id: str) -> list[Latest]:
    return list(session.scalars(select(Latest).where(Latest.device_id == device_id).order_by(Latest.name)))


def history(session: Session, device_id: str, limit: int, name: str | None = None, since: int = 0) -> list[Measurement]:
    """Newest first; `since` is the id of the last row already seen."""
    wanted = select(Measurement).where(Measurement.device_id == device_id, Measurement.id > since)
    if name is not None:
        wanted = wanted.where(Measurement.name == name)
    return list(session.scalars(wanted.order_by(Measurement.id.desc()).limit(limit)))


def recent_numbers(session: Session, device_id: str, name: str, limit: int) -> list[float]:
    """The last numbers of one measurement, oldest first: a sparkline."""
    wanted = (
        select(Measurement.number)
        .where(Measurement.device_id == device_id, Measurement.name == name, Measurement.number.is_not(None))
        .order_by(Measurement.id.desc())
        .limit(limit)
    )
    return [n for n in session.scalars(wanted) if n is not None][::-1]
