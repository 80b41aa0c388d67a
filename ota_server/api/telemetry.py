"""Telemetry of one device: its history, a page at a time, and the newest value of each measurement."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from ota_server.api import context, serialize
from ota_server.api.auth import requires
from ota_server.api.devices import get
from ota_server.api.shapes import History, Series
from ota_server.api.validate import takes
from ota_server.store import telemetry

blueprint = Blueprint("telemetry", __name__)


@blueprint.get("/devices/<device_id>/telemetry")
@requires("read")
@takes(query=History)
def history(device_id: str, query: History) -> dict[str, Any]:
    """Measurements, newest first, `next` being the cursor of the next page; with `after`, in the order of arrival."""
    chosen, limit = _query(query), query.rows
    with context.store().read() as session:
        device_id = get(session, device_id).id
        if query.after is not None:
            rows = telemetry.arrived(session, device_id, chosen, limit, query.after)
            return {"telemetry": [serialize.point(*row) for row in rows], "next": None}
        rows = telemetry.history(session, device_id, chosen, limit, query.cursor)
    last = rows[-1][0] if len(rows) == limit else None
    return {"telemetry": [serialize.point(*row) for row in rows], "next": f"{last.at}-{last.id}" if last else None}


@blueprint.get("/devices/<device_id>/telemetry/last")
@requires("read")
@takes(query=Series)
def last(device_id: str, query: Series) -> dict[str, Any]:
    """The newest value of each measurement, and the counts of each stream."""
    with context.store().read() as session:
        device_id = get(session, device_id).id
        return {
            "last": [serialize.series(row) for row in telemetry.series(session, device_id, _query(query))],
            "streams": [serialize.stream(row) for row in telemetry.streams(session, device_id)],
        }


def _query(query: Series) -> telemetry.Query:
    return telemetry.Query(query.stream, query.name, query.since, query.until)
