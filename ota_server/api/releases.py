"""Releases: published whole, after everything about them was checked."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, request

from ota_server import releases, views
from ota_server.auth import requires
from ota_server.store import releases as stored

from . import context

blueprint = Blueprint("releases", __name__)


@blueprint.post("/releases")
@requires("publish")
def publish() -> tuple[dict[str, Any], int]:
    wanted = releases.read(context.any_json())
    outcome = releases.accept(context.store(), context.payloads(), context.config(), wanted, g.actor)
    context.wake_worker()
    body = {
        **views.release(outcome.release),
        "published": outcome.created,
        "offered": outcome.offered,
        "warnings": outcome.warnings,
    }
    return body, 201 if outcome.created else 200


@blueprint.get("/releases")
@requires("read")
def list_releases() -> dict[str, Any]:
    with context.store().read() as session:
        rows = stored.listed(session, context.limit(), request.args.get("product"))
        return {"releases": [views.release(row) for row in rows]}
