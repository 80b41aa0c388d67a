"""Data components: files that are published and offered apart from the image."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

from ota_server.api import context, serialize
from ota_server.releases import accept_data
from ota_server.security.tokens import requires
from ota_server.store import data as stored

blueprint = Blueprint("data", __name__)


@blueprint.post("/data")
@requires("publish")
def publish() -> tuple[dict[str, Any], int]:
    wanted = accept_data.read(context.any_json())
    outcome = accept_data.accept(context.store(), context.payloads(), context.config(), wanted, g.actor)
    context.wake_worker()
    body = {
        "targets": [serialize.data_target(target) for target in outcome.targets],
        "published": outcome.created,
        "offered": outcome.offered,
    }
    return body, 201 if outcome.created else 200


@blueprint.get("/data")
@requires("read")
def list_data() -> dict[str, Any]:
    with context.store().read() as session:
        return {"data": [serialize.data_target(row) for row in stored.listed(session, context.limit())]}
