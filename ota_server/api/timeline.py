"""GET /api/v1/devices/<id>/timeline: all that happened to one device, in one feed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint

from ota_server.api import context, serialize
from ota_server.api.auth import requires
from ota_server.api.devices import get
from ota_server.api.shapes import Timeline
from ota_server.api.timeline_text import sentence
from ota_server.api.validate import takes
from ota_server.errors import Invalid
from ota_server.store import now_ms, timeline
from ota_server.store.device_events import SILENCE_MS
from ota_server.store.models import Alarm, Audit, CommandStep, Device, DeviceEvent

blueprint = Blueprint("timeline", __name__)


@blueprint.get("/devices/<device_id>/timeline")
@requires("read")
@takes(query=Timeline)
def show(device_id: str, query: Timeline) -> dict[str, Any]:
    """All that happened to the device: newest first, `before` being the place of the next page, null at the end.

    With `since`, the place that an answer gave: what came after it, oldest first. A place belongs to the kinds that it
    was given for.
    """
    if query.since is not None and query.before is not None:
        raise Invalid("invalid-parameter", "since and before go in two directions", "Send one of the two")
    with context.store().read() as session:
        row = get(session, device_id)
        if query.since is not None:
            feed = timeline.after(session, row.id, query.kinds, query.rows, query.since)
        else:
            feed = timeline.newest(session, row.id, query.kinds, query.rows, query.before)
        return {
            "id": row.id,
            "name": row.name,
            "silent_since": serialize.iso(_silent_since(row)),
            "timeline": [_entry(entry) for entry in feed.entries],
            "since": None if query.before is not None else _place(feed.since),
            "before": None if feed.before is None else _place(feed.before),
        }


def _silent_since(row: Device) -> int | None:
    """When the device was last heard, if it is offline and that is long ago."""
    is_silent = not row.online and row.last_seen_at is not None and now_ms() - row.last_seen_at >= SILENCE_MS
    return row.last_seen_at if is_silent else None


def _place(numbers: Mapping[str, int]) -> str:
    return ".".join(f"{name}{number}" for name, number in sorted(numbers.items()))


def _entry(entry: timeline.Entry) -> dict[str, Any]:
    return {
        "id": f"{entry.source}{entry.row.id}",
        "at": serialize.iso(entry.at),
        "kind": entry.kind,
        "text": sentence(entry),
        "body": _body(entry.row),
    }


def _body(row: timeline.Row) -> dict[str, Any]:
    if isinstance(row, DeviceEvent):
        return row.body
    if isinstance(row, Alarm):
        return serialize.alarm(row)
    if isinstance(row, Audit):
        return {"action": row.action, "by": row.actor, **row.detail}
    if isinstance(row, CommandStep):
        command = row.command
        last = row.state == command.state or command.state == "archived"
        answer = {"outcome": command.outcome, "result": command.result} if last else {}
        return {
            "cti": command.cti, "opcode": command.opcode, "state": row.state, "by": row.by, "why": row.why, **answer
        }  # fmt: skip
    return row.body
