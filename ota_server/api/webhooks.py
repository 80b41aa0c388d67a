"""GET /api/v1/webhooks and the log of each; they are added and removed on the server's machine only."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from ota_server.api import context, serialize
from ota_server.api.auth import requires
from ota_server.api.shapes import Page
from ota_server.api.validate import takes
from ota_server.errors import NotFound
from ota_server.store import webhooks
from ota_server.store.models import Webhook
from ota_server.webhooks import addresses

blueprint = Blueprint("webhooks", __name__)


@blueprint.get("/webhooks")
@requires("admin")
def list_webhooks() -> dict[str, Any]:
    """Webhooks, without their secrets: what else a URL has than its host may be one, too."""
    with context.store().read() as session:
        waiting = webhooks.waiting(session)
        return {"webhooks": [_webhook(row, waiting.get(row.id, 0)) for row in webhooks.listed(session)]}


@blueprint.get("/webhooks/<int:number>/deliveries")
@requires("admin")
@takes(query=Page)
def deliveries(number: int, query: Page) -> dict[str, Any]:
    """What was sent to a webhook and what waits, the newest first (with `since`: oldest)."""
    with context.store().read() as session:
        if number >= 2**63 or session.get(Webhook, number) is None:
            raise NotFound("not-found", f"webhook {number} does not exist", "See: tidegate server webhook list")
        return {
            "deliveries": [
                serialize.webhook_delivery(row) for row in webhooks.log(session, number, query.rows, query.place)
            ]
        }


def _webhook(row: Webhook, waiting: int) -> dict[str, Any]:
    return {
        "id": row.id,
        "origin": addresses.parse(row.url, private=row.private).origin,
        "events": row.events.split(),
        "private": row.private,
        "created": serialize.iso(row.created_at),
        "waiting": waiting,
    }
