"""Groups of devices: what they follow, their settings, and who is in them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

from ota_server import fleet
from ota_server.auth import requires

from . import context

blueprint = Blueprint("groups", __name__)


@blueprint.get("/groups")
@requires("read")
def list_groups() -> dict[str, Any]:
    with context.store().read() as session:
        return fleet.view(session)


@blueprint.post("/groups")
@requires("rollout")
def change() -> dict[str, Any]:
    told = fleet.apply(context.store(), fleet.read(context.any_json()), g.actor)
    context.wake_worker()
    return told
