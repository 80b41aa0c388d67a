"""The audit log: who did what, newest first."""

from __future__ import annotations

from flask import Response
from sqlalchemy import select

from ota_server.api import context
from ota_server.security import audit
from ota_server.store.models import Audit
from ota_server.web import page
from ota_server.web.session import signed_in

_ROWS = 100
_WORD = 80


@signed_in("admin")
def show() -> Response:
    actor, subject = page.word("actor", _WORD), page.word("subject", _WORD)
    statement = page.newest(select(Audit), Audit.id, _ROWS)
    if actor:
        statement = statement.where(Audit.actor == actor)
    if subject:
        statement = statement.where(Audit.subject == subject)
    with context.store().read() as session:
        found = list(session.scalars(statement))
        return page.show(
            "audit.html",
            entries=found[:_ROWS],
            older=found[_ROWS - 1].id if len(found) > _ROWS else None,
            head=audit.head(session),
            actor=actor,
            subject=subject,
        )
