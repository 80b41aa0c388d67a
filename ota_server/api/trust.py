"""The trust store: shown, and moved on by updates that the root keys signed."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

from ota_server.api import context, serialize
from ota_server.api.auth import requires
from ota_server.api.publication_shapes import PublishTrust
from ota_server.api.validate import takes
from ota_server.releases import trust
from ota_server.store import trust_updates as store_trust_updates

blueprint = Blueprint("trust", __name__)


@blueprint.post("/trust")
@requires("publish")
@takes(PublishTrust, success=201, again=True)
def publish(body: PublishTrust) -> tuple[dict[str, Any], int]:
    """Publish a signed trust update: 201; 200 if it was published before.

    With `hold` only rollouts in waves hand it to devices. Published once more without, all devices get it.
    """
    publication = trust.publish(context.store(), context.config(), body.update, g.actor, hold=body.hold)
    context.wake_worker()
    answer = {**serialize.trust_store(publication.store), "published": publication.created}
    answer["held"] = publication.held
    answer["withdrawn"] = [serialize.withdrawn(target) for target in publication.withdrawn]
    return answer, 201 if publication.created else 200


@blueprint.get("/trust")
@requires("read")
def show() -> dict[str, Any]:
    """The trust store that counts, the updates published here, and how many devices have which version."""
    with context.store().read() as session:
        return {
            **serialize.trust_store(trust.current(session, context.config())),
            "updates": [serialize.trust_update(row) for row in store_trust_updates.listed(session)],
            "devices": {str(version): count for version, count in store_trust_updates.holders(session).items()},
        }
