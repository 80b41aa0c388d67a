"""GET /api/v1/alarms: of all devices and of the server, newest first."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from ota_server.api import context, serialize
from ota_server.security.tokens import requires
from ota_server.store import alarms

blueprint = Blueprint("alarms", __name__)


@blueprint.get("/alarms")
@requires("read")
def list_alarms() -> dict[str, Any]:
    with context.store().read() as session:
        rows = alarms.listed(session, context.limit(), since=context.since())
        return {"alarms": [serialize.alarm(row) for row in rows], "counters": alarms.counters(session)}
