"""Data components: files that are published and offered apart from the image."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

from ota_server.api import context, serialize
from ota_server.api.auth import requires
from ota_server.api.shapes import Limit, PublishData
from ota_server.api.validate import takes
from ota_server.releases.accept import accept
from ota_server.releases.data import DataCandidate
from ota_server.store import data as stored

blueprint = Blueprint("data", __name__)


@blueprint.post("/data")
@requires("publish")
@takes(PublishData, success=201, again=True)
def publish(body: PublishData) -> tuple[dict[str, Any], int]:
    """Publish data for a component: 201; 200 if the same was published before."""
    candidate = DataCandidate(body.product, body.vendor, body.version, body.sequence, body.envelopes(), body.name)
    publication = accept(context.store(), context.payloads(), context.config(), candidate, g.actor)
    context.wake_worker()
    answer = {
        "targets": [serialize.data_target(target) for target in publication.stored],
        "published": publication.created,
        "offered": publication.offered,
    }
    return answer, 201 if publication.created else 200


@blueprint.get("/data")
@requires("read")
@takes(query=Limit)
def list_data(query: Limit) -> dict[str, Any]:
    """What was published for data components, newest first."""
    with context.store().read() as session:
        return {"data": [serialize.data_target(row) for row in stored.listed(session, query.rows)]}
