"""GET /healthz: whether this process can answer, for whatever watches it."""

from __future__ import annotations

from flask import Blueprint
from sqlalchemy import text

from ota_server.api import context

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> dict[str, bool]:
    """Whether this process and its database can answer."""
    with context.store().read() as session:
        session.execute(text("SELECT 1"))
    return {"ok": True}
