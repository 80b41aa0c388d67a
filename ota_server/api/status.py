"""GET /api/v1/status: everything the status page shows, in one answer."""

from __future__ import annotations

from typing import Any

from flask import Blueprint
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ota_server.api import context, serialize
from ota_server.api.auth import requires
from ota_server.store import alarms, commands, devices, now_ms, releases, telemetry, trust_updates
from ota_server.store.models import Device

blueprint = Blueprint("status", __name__)

_DEVICES = 200
_ROWS = 15
_TREND_POINTS = 32
_MAX_TRENDS = 64  # sparklines in one answer; a fleet larger than this is not read by eye


@blueprint.get("/status")
@requires("read")
def status() -> dict[str, Any]:
    """Everything that the status page shows."""
    with context.store().read() as session:
        rows = devices.listed(session, _DEVICES)
        newest = trust_updates.newest_version(session)
        crashes = alarms.last_crashes(session, [row.id for row in rows])
        streams = telemetry.streams_of(session, [row.id for row in rows])
        total, online = session.execute(
            select(func.count(Device.id), func.count(Device.id).filter(Device.online))
        ).one()
        return {
            "now": serialize.iso(now_ms()),
            "counts": {"devices": total, "online": online},
            "devices": [
                {
                    **serialize.device(row),
                    "trust": serialize.trust(row, newest),
                    "data": serialize.device_data(session, row.id),
                    "telemetry": latest,
                    "streams": [serialize.stream(stream) for stream in streams[row.id]],
                    "crash": serialize.alarm(crashes[row.id]) if row.id in crashes else None,
                }
                for row, latest in zip(rows, _telemetry(session, rows), strict=True)
            ],
            "alarms": [serialize.alarm(row) for row in alarms.listed(session, _ROWS)],
            "commands": serialize.command_list(session, commands.listed(session, _ROWS)),
            "releases": [serialize.release(row) for row in releases.listed(session, _ROWS)],
            "counters": alarms.counters(session),
        }


def _telemetry(session: Session, rows: list[Device]) -> list[dict[str, Any]]:
    """Newest values of each device, the first ones with their recent past."""
    out, trends = [], 0
    for row in rows:
        values = {}
        for series in telemetry.latest(session, row.id):
            value = values[series.name] = {**serialize.value(series), "unit": series.unit}
            if trends < _MAX_TRENDS and series.number is not None:
                value["trend"] = telemetry.recent_numbers(session, series.id, _TREND_POINTS)
                trends += 1
        out.append(values)
    return out
