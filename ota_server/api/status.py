"""GET /api/v1/status: everything the page once showed of a fleet, in one answer."""

from __future__ import annotations

from typing import Any

from flask import Blueprint
from sqlalchemy.orm import Session

from ota_server.api import context, serialize
from ota_server.api.auth import requires
from ota_server.fleet import attention
from ota_server.store import alarms, commands, data, now_ms, releases, telemetry, trust_updates

blueprint = Blueprint("status", __name__)

_DEVICES = 100  # cards on the page: those in trouble first
_ROWS = 15
_TREND_POINTS = 32
_MAX_TRENDS = 64  # sparklines in one answer; a fleet larger than this is not read by eye


@blueprint.get("/status")
@requires("read")
def status() -> dict[str, Any]:
    """The fleet in one answer: counts of the whole fleet, and the devices in trouble first."""
    with context.store().read() as session:
        rows = attention.listed(session, _DEVICES)
        ids = [row.id for row in rows]
        newest = trust_updates.newest_version(session)
        crashes = alarms.last_crashes(session, ids)
        streams = telemetry.streams_of(session, ids)
        components = data.of_devices(session, ids)
        values = _telemetry(session, ids)
        return {
            "now": serialize.iso(now_ms()),
            "counts": attention.counts(session),
            "devices": [
                {
                    **serialize.device(row),
                    "trust": serialize.trust(row, newest),
                    "data": serialize.data_rows(components[row.id]),
                    "telemetry": values[row.id],
                    "streams": [serialize.stream(stream) for stream in streams[row.id]],
                    "crash": serialize.alarm(crashes[row.id]) if row.id in crashes else None,
                }
                for row in rows
            ],
            "alarms": [serialize.alarm(row) for row in alarms.listed(session, _ROWS)],
            "commands": serialize.command_list(session, commands.listed(session, _ROWS)),
            "releases": [serialize.release(row) for row in releases.listed(session, _ROWS)],
            "counters": alarms.counters(session),
        }


def _telemetry(session: Session, ids: list[str]) -> dict[str, dict[str, Any]]:
    """Newest values of each device, the first ones with their recent past."""
    out: dict[str, dict[str, Any]] = {}
    trends = 0
    newest = telemetry.latest_of(session, ids)
    for device_id in ids:
        values = out[device_id] = {}
        for series in newest[device_id]:
            value = values[series.name] = {**serialize.value(series), "unit": series.unit}
            if trends < _MAX_TRENDS and series.number is not None:
                value["trend"] = telemetry.recent_numbers(session, series.id, _TREND_POINTS)
                trends += 1
    return out
