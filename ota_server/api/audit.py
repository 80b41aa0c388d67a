"""GET /api/v1/audit: the log of privileged acts, newest first, and whether its chain is whole."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, g, request
from sqlalchemy import select

from ota_server.api import context, serialize
from ota_server.api.auth import requires
from ota_server.api.shapes import Page
from ota_server.api.validate import takes
from ota_server.security import audit
from ota_server.store.models import Audit
from ota_server.store.pages import page

blueprint = Blueprint("audit", __name__)


@blueprint.get("/audit")
@requires("admin")
@takes(query=Page)
def show(query: Page) -> dict[str, Any]:
    """The log of privileged acts, newest first, and whether its chain is whole.

    With `since`, entries are the oldest first, so that all of it can be fetched; the chain is the caller's to compute
    then, and `whole` is null.
    """
    with context.store().read() as session:
        rows = page(select(Audit), Audit.id, query.rows, query.place)
        broken = audit.first_break(session) if query.since is None else None
        return {
            "whole": broken is None if query.since is None else None,
            "first_break": broken,
            "entries": [
                {
                    "id": row.id,
                    "at": serialize.iso(row.at),
                    "actor": row.actor,
                    "action": row.action,
                    "subject": row.subject,
                    "detail": row.detail,
                    "hash": row.hash,
                }
                for row in session.scalars(rows)
            ],
        }


def add_head(answer: Response) -> Response:
    """Tell whoever changed something the head of the log, as a witness: the header Tidegate-Audit is "ID HASH"."""
    if request.method not in ("GET", "HEAD", "OPTIONS") and answer.status_code < 300 and "actor" in g:
        with context.store().read() as session:
            found = audit.head(session)
        if found is not None:
            answer.headers["Tidegate-Audit"] = f"{found.id} {found.hash}"
    return answer
