"""The trust store: shown, and moved on by updates that the root keys signed."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

from ota_server import trust_updates, views
from ota_server.auth import requires
from ota_server.store import trusts
from tidegate import rotation

from . import context

blueprint = Blueprint("trust", __name__)


@blueprint.post("/trust")
@requires("publish")
def publish() -> tuple[dict[str, Any], int]:
    document = context.decode_base64(context.json_body("update")["update"], "trust update", rotation.MAX_SIZE)
    outcome = trust_updates.publish(context.store(), context.config(), document, g.actor)
    context.wake_worker()
    body = {**views.trust_store(outcome.store), "published": outcome.created}
    body["withdrawn"] = [views.withdrawn(target) for target in outcome.withdrawn]
    return body, 201 if outcome.created else 200


@blueprint.get("/trust")
@requires("read")
def show() -> dict[str, Any]:
    with context.store().read() as session:
        return {
            **views.trust_store(trust_updates.current(session, context.config())),
            "updates": [views.trust_update(row) for row in trusts.listed(session)],
            "devices": {str(version): count for version, count in trusts.holders(session).items()},
        }
