"""Groups of devices: what they follow, their settings, and who is in them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

from ota_server.api import context
from ota_server.fleet import groups
from ota_server.security.tokens import requires

blueprint = Blueprint("groups", __name__)


@blueprint.get("/groups")
@requires("read")
def list_groups() -> dict[str, Any]:
    with context.store().read() as session:
        return groups.view(session)


@blueprint.post("/groups")
@requires("rollout")
def change() -> dict[str, Any]:
    told = groups.apply(context.store(), groups.read(context.any_json()), g.actor)
    context.wake_worker()
    return told
