"""The audit log, and a ticket to the pages."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, with_config

from tidegate.client.shapes.terms import REST, Count, Digest, Time, TypedDict


@with_config(REST)
class Entry(TypedDict):
    id: Count
    at: Time
    actor: str
    action: str
    subject: str
    detail: Any
    hash: Digest


@with_config(REST)
class Audit(TypedDict):
    whole: bool | None
    first_break: Count | None
    entries: list[Entry]


@with_config(REST)
class Ticket(TypedDict):
    ticket: Annotated[str, Field(pattern=r"^tgt_[A-Za-z0-9_-]{16,60}$")]  # it stands in an address
    seconds: Count
