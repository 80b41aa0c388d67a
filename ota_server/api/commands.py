"""Commands: signed elsewhere, relayed here. We read the claims to route and expire; the device judges the signature."""

from __future__ import annotations

import time
from typing import Any

from flask import Blueprint, g, request

from ota_server import audit, views
from ota_server.auth import requires
from ota_server.config import MAX_COMMAND
from ota_server.problems import Problem
from ota_server.store import commands
from ota_server.store.models import Command, Device
from tidegate import command as cwt
from tidegate.errors import Refused

from . import context

blueprint = Blueprint("commands", __name__)


@blueprint.post("/devices/<device_id>/commands")
@requires("command")
def relay(device_id: str) -> tuple[dict[str, Any], int]:
    message = context.decode_base64(context.json_body("command")["command"], "command", MAX_COMMAND)
    claims, signatures = cwt.decode(message)
    if claims.audience != device_id:
        raise Refused(
            "audience", f"the command is for {claims.audience}, not for {device_id}", f"Send it to {claims.audience}"
        )
    if claims.expires <= time.time():
        raise Refused("expired", "the command has expired", "Sign a new one; check the clocks of both machines")
    with context.store().write() as session:
        if session.get(Device, device_id) is None:
            raise Problem(404, "no-such-device", f"there is no device {device_id}", "Register it first")
        known = commands.newest(session, claims.cti.hex(), device_id)
        if known is not None and known.message == message and known.state in commands.OPEN:
            return views.command(known), 200  # the caller repeats itself, perhaps because our answer got lost
        row = Command(
            device_id=device_id,
            cti=claims.cti.hex(),
            kid=signatures[0].kid.hex(),
            opcode=claims.opcode,
            message=message,
            expires_at=claims.expires * 1000,
        )
        session.add(row)
        audit.record(session, g.actor, "command.relay", device_id, cti=row.cti, kid=row.kid, opcode=row.opcode)
        session.flush()
        answer = views.command(row)
    context.wake_worker()
    return answer, 202


@blueprint.get("/commands/<cti>")
@requires("read")
def show(cti: str) -> dict[str, Any]:
    with context.store().read() as session:
        row = commands.newest(session, cti[:16].lower(), request.args.get("device"))
        if row is None:
            raise Problem(
                404, "no-such-command", f"no command {cti[:64]} was sent from here", "Check the cti (16 hex digits)"
            )
        return views.command(row)


@blueprint.get("/commands")
@requires("read")
def list_commands() -> dict[str, Any]:
    with context.store().read() as session:
        rows = commands.listed(session, context.limit(), request.args.get("device"))
        return {"commands": [views.command(row) for row in rows]}
