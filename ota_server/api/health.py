"""GET /healthz and /readyz: whether this process lives, and whether it can do its work, for whatever watches it."""

from __future__ import annotations

from flask import Blueprint
from sqlalchemy import text

from ota_server.api import context

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> dict[str, bool]:
    """Whether this process can answer: if not, restart it."""
    return {"ok": True}


@blueprint.get("/readyz")
def readyz() -> dict[str, bool]:
    """Whether it can do its work: 503 with Retry-After while the database is away; then send requests elsewhere."""
    with context.store().read() as session:
        session.execute(text("SELECT 1"))
    return {"ready": True}
