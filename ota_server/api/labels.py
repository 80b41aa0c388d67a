"""Labels of devices, by which rollouts select them."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

from ota_server.api import context
from ota_server.api.auth import requires
from ota_server.api.devices import get
from ota_server.api.shapes import ChangeLabels
from ota_server.api.validate import takes
from ota_server.errors import Conflict
from ota_server.security import audit
from ota_server.store import labels

blueprint = Blueprint("labels", __name__)


@blueprint.get("/devices/<device_id>/labels")
@requires("read")
def show(device_id: str) -> dict[str, Any]:
    """The labels that people gave the device."""
    with context.store().read() as session:
        row = get(session, device_id)
        return {"id": row.id, "labels": labels.of(session, row.id)}


@blueprint.post("/devices/<device_id>/labels")
@requires("devices")
@takes(ChangeLabels)
def change(device_id: str, body: ChangeLabels) -> dict[str, Any]:
    """Set labels of the device, and take away those that are null; the answer has all that it has then."""
    with context.store().write() as session:
        row = get(session, device_id)
        before = labels.of(session, row.id)
        after = labels.change(session, row.id, body.labels)
        if len(after) > labels.MOST:
            raise Conflict("too-many-labels", f"a device has at most {labels.MOST} labels", "Take some away first")
        if after != before:
            audit.record(session, g.actor, "device.label", row.id, labels=dict(body.labels))
        return {"id": row.id, "labels": after}
