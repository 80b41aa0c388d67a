"""The trust store: shown, and moved on by updates that the root keys signed."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

from ota_server.api import context, serialize
from ota_server.releases import trust
from ota_server.security.tokens import requires
from ota_server.store import trust_updates as store_trust_updates
from tidegate.trust import rotation

blueprint = Blueprint("trust", __name__)


@blueprint.post("/trust")
@requires("publish")
def publish() -> tuple[dict[str, Any], int]:
    document = context.decode_base64(context.json_body("update")["update"], "trust update", rotation.MAX_SIZE)
    outcome = trust.publish(context.store(), context.config(), document, g.actor)
    context.wake_worker()
    body = {**serialize.trust_store(outcome.store), "published": outcome.created}
    body["withdrawn"] = [serialize.withdrawn(target) for target in outcome.withdrawn]
    return body, 201 if outcome.created else 200


@blueprint.get("/trust")
@requires("read")
def show() -> dict[str, Any]:
    with context.store().read() as session:
        return {
            **serialize.trust_store(trust.current(session, context.config())),
            "updates": [serialize.trust_update(row) for row in store_trust_updates.listed(session)],
            "devices": {str(version): count for version, count in store_trust_updates.holders(session).items()},
        }
