"""Answers that come in parts: each is stored once, and they are joined when they are read."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from ota_server.store.models import Command, CommandPart

MOST_OUTPUT = 65_536  # bytes of text stored of one answer
MOST_PARTS = 1024


def add(session: Session, row: Command, number: int, text: str) -> None:
    """File one part of an answer. One that comes again is known.

    The caller holds the device's row, so the sum of sizes is exact.
    """
    size = len(text.encode())
    if number < MOST_PARTS and session.get(CommandPart, (row.id, number)) is not None:
        return
    if number >= MOST_PARTS or row.output_size + size > MOST_OUTPUT:
        row.truncated = True
        return
    session.add(CommandPart(command_id=row.id, number=number, text=text))
    row.output_size += size


def read(session: Session, row: Command) -> tuple[str | None, list[int]]:
    """(text, numbers of missing parts) of an answer in parts; the text is None if there is none.

    While parts still come, the text ends at the first gap, so that what was read before is always its beginning.
    """
    statement = select(CommandPart).where(CommandPart.command_id == row.id).order_by(CommandPart.number)
    found = {part.number: part.text for part in session.scalars(statement)}
    if not found and not row.parts:
        return None, []
    total = min(row.parts or 0, MOST_PARTS)
    if row.truncated:  # parts after the last one stored are not missing: they were too much
        total = min(total, max(found, default=-1) + 1)
    missing = [number for number in range(total) if number not in found]
    text, number = [], 0
    while number in found or number < total:
        text.append(found.get(number, f"[part {number} is missing]\n"))
        number += 1
    if row.truncated and row.parts is not None:
        text.append(f"\n[the rest is not kept: more than {MOST_OUTPUT} bytes]\n")
    return "".join(text), missing
