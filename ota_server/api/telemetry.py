"""Telemetry of one device: its history, a page at a time, and the newest value of each measurement."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from ota_server.api import context, serialize
from ota_server.api.auth import requires
from ota_server.api.devices import get
from ota_server.api.shapes import History, Rollups, Series
from ota_server.api.validate import takes
from ota_server.store import now_ms, rollups, telemetry

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


@blueprint.get("/devices/<device_id>/telemetry/rollups")
@requires("read")
@takes(query=Rollups)
def rolled_up(device_id: str, query: Rollups) -> dict[str, Any]:
    """Count, least, most and mean by the minute, hour or day, newest first; `next` is the cursor of the next page."""
    limit = query.rows
    with context.store().read() as session:
        chosen = {row.id: row for row in telemetry.series(session, get(session, device_id).id, _query(query))}
        until = now_ms() if query.until is None else query.until
        step = query.step or rollups.finest(until if query.since is None else query.since, until, limit)
        asked = rollups.Query(list(chosen), step, query.since, query.until)
        rows = rollups.listed(session, asked, limit, query.cursor)
    following = f"{rows[-1].at}-{rows[-1].series_id}" if len(rows) == limit else None
    return {"step": step, "rollups": [serialize.rollup(row, chosen[row.series_id]) for row in rows], "next": following}


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
