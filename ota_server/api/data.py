"""Data components: files that are published and offered apart from the image."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

from ota_server.api import context, serialize
from ota_server.api.auth import requires
from ota_server.api.publication_shapes import PublishData
from ota_server.api.shapes import Limit
from ota_server.api.validate import takes
from ota_server.errors import Conflict
from ota_server.releases.accept import accept
from ota_server.releases.data import DataCandidate, let_go
from ota_server.store import data as stored
from tidegate.rollout.subject import TRUST

blueprint = Blueprint("data", __name__)


@blueprint.post("/data")
@requires("publish")
@takes(PublishData, success=201, again=True)
def publish(body: PublishData) -> tuple[dict[str, Any], int]:
    """Publish data for a component: 201; 200 if the same was published before.

    With `hold` only rollouts in waves offer it. Published once more without, it is offered to all devices.
    """
    if body.hold and body.name == TRUST:
        raise Conflict("reserved-name", f"a component named {TRUST} cannot be rolled out in waves", "Leave --hold out")
    numbers = (body.product, body.vendor, body.version, body.sequence)
    candidate = DataCandidate(*numbers, body.envelopes(), body.name, body.hold)
    publication = accept(context.store(), context.payloads(), context.config(), candidate, g.actor)
    targets, offered = publication.stored, publication.offered
    if not body.hold and any(target.held for target in targets):
        targets, offered = let_go(context.store(), body.product, body.name, body.sequence, g.actor)
    context.wake_worker()
    answer = {
        "targets": [serialize.data_target(target) for target in targets],
        "published": publication.created,
        "offered": offered,
    }
    return answer, 201 if publication.created else 200


@blueprint.get("/data")
@requires("read")
@takes(query=Limit)
def list_data(query: Limit) -> dict[str, Any]:
    """What was published for data components, newest first."""
    with context.store().read() as session:
        return {"data": [serialize.data_target(row) for row in stored.listed(session, query.rows)]}
