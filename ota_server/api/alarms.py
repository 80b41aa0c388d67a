"""/api/v1/alarms: of all devices and of the server, who has seen them, and which kinds call nobody until when."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

from ota_server.api import context, serialize
from ota_server.api.alarm_shapes import AcknowledgeAlarms, AlarmPage, MuteAlarms
from ota_server.api.auth import requires
from ota_server.api.devices import get
from ota_server.api.validate import takes
from ota_server.fleet import alarm_acts
from ota_server.store import alarm_handling, alarms

blueprint = Blueprint("alarms", __name__)


@blueprint.get("/alarms")
@requires("read")
@takes(query=AlarmPage)
def list_alarms(query: AlarmPage) -> dict[str, Any]:
    """Alarms of all devices and of the server, newest first (with `since`: oldest), and the counters."""
    with context.store().read() as session:
        device = None if query.device is None else get(session, query.device).id
        rows = alarms.listed(session, query.rows, device, query.place, query.only)
        return {"alarms": serialize.alarm_list(session, rows), "counters": alarms.counters(session)}


@blueprint.post("/alarms/acknowledge")
@requires("devices")
@takes(AcknowledgeAlarms)
def acknowledge(body: AcknowledgeAlarms) -> dict[str, Any]:
    """Say that alarms have been seen; the answer names those that nobody had acknowledged before."""
    with context.store().write() as session:
        return {"acknowledged": alarm_acts.acknowledge(session, g.actor, body.alarms, body.note)}


@blueprint.get("/alarms/mutes")
@requires("read")
def list_mutes() -> dict[str, Any]:
    """Mutes in force, the one that ends first first."""
    with context.store().read() as session:
        return {"mutes": [serialize.mute(row) for row in alarm_handling.mutes(session)]}


@blueprint.post("/alarms/mutes")
@requires("devices")
@takes(MuteAlarms, success=201)
def mute(body: MuteAlarms) -> tuple[dict[str, Any], int]:
    """Have alarms of one kind, of one device or of all, call nobody for so long; they are stored and listed."""
    with context.store().write() as session:
        row = alarm_acts.mute(session, g.actor, body.of_kind, body.device, body.seconds, body.why)
        return serialize.mute(row), 201


@blueprint.delete("/alarms/mutes/<int:number>")
@requires("devices")
def unmute(number: int) -> dict[str, Any]:
    """End a mute now."""
    with context.store().write() as session:
        return serialize.mute(alarm_acts.unmute(session, g.actor, number))
