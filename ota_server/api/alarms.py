"""GET /api/v1/alarms: of all devices and of the server, newest first, or with `since` as they came."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from ota_server.api import context, serialize
from ota_server.api.auth import requires
from ota_server.api.shapes import Page
from ota_server.api.validate import takes
from ota_server.store import alarms

blueprint = Blueprint("alarms", __name__)


@blueprint.get("/alarms")
@requires("read")
@takes(query=Page)
def list_alarms(query: Page) -> dict[str, Any]:
    """Alarms of all devices and of the server, newest first (with `since`: oldest), and the counters."""
    with context.store().read() as session:
        rows = alarms.listed(session, query.rows, place=query.place)
        return {"alarms": [serialize.alarm(row) for row in rows], "counters": alarms.counters(session)}
