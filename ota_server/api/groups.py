"""Groups of devices: what they follow, their settings, and who is in them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

from ota_server.api import context
from ota_server.api.auth import requires
from ota_server.api.shapes import ChangeGroups
from ota_server.api.validate import takes
from ota_server.fleet import groups

blueprint = Blueprint("groups", __name__)


@blueprint.get("/groups")
@requires("read")
def list_groups() -> dict[str, Any]:
    """All groups, and the digest of their state."""
    with context.store().read() as session:
        return groups.view(session)


@blueprint.post("/groups")
@requires("rollout")
@takes(ChangeGroups)
def change(body: ChangeGroups) -> dict[str, Any]:
    """Change groups and move devices between them: all of it or nothing."""
    answer = groups.apply(context.store(), body.change(), g.actor)
    context.wake_worker()
    return answer
