"""Commands: signed elsewhere, judged and relayed here, followed until they are answered."""

from __future__ import annotations

import hashlib
from typing import Any

from flask import Blueprint, g, request
from sqlalchemy.orm import Session

from ota_server.api import context, devices, serialize
from ota_server.commands.policy import Relay
from ota_server.config import MAX_COMMAND
from ota_server.errors import Problem
from ota_server.security import audit
from ota_server.security.tokens import requires
from ota_server.store import alarms, commands
from ota_server.store.models import Command, Device
from tidegate.commands import cwt
from tidegate.errors import Refused
from tidegate.wire.command_states import OPEN, STATES

blueprint = Blueprint("commands", __name__)


@blueprint.post("/devices/<device_id>/commands")
@requires("command")
def relay(device_id: str) -> tuple[dict[str, Any], int]:
    message = context.decode_base64(context.json_body("command")["command"], "command", MAX_COMMAND)
    refused: Refused | None = None
    with context.store().write() as session:
        device = devices.get(session, device_id)
        session.get(Device, device.id, with_for_update=True)  # of two that hand in the same, the second finds the first
        known = _known(session, device, message)
        if known is not None:
            return serialize.command(session, known), 200
        try:
            row = _new(session, device, message)
        except Refused as error:
            refused = error  # said after the alarm is in the database
            alarms.raise_own(session, device.id, "command-refused", error.reason, f"handed in here: {error.message}")
        else:
            answer = serialize.command(session, row)
    if refused is not None:
        raise refused
    context.wake_worker()
    return answer, 202


def _known(session: Session, device: Device, message: bytes) -> Command | None:
    """The same command, if it was handed in before: perhaps our answer got lost. Nothing is sent twice for it."""
    claims, signatures = cwt.decode(message)
    found = commands.get(session, claims.cti.hex(), device.id)
    if found is None:
        return None
    if found.digest == hashlib.sha256(message).hexdigest() or (found.digest is None and found.message == message):
        return found
    if found.kid != _kids([signature.kid for signature in signatures]):
        return None  # another key's counter, which happens to be as high
    raise Problem(
        409,
        "counter-used",
        f"another command with the counter {found.cti} was handed in for {device.id}",
        "Sign a new one; a counter is used once",
    )


def _new(session: Session, device: Device, message: bytes) -> Command:
    signed = Relay(context.config()).judge(session, device, message)
    claims, signatures = cwt.decode(message)
    if commands.count_open(session, device.id) >= commands.MOST_OPEN:
        raise Problem(
            409,
            "too-many",
            f"{commands.MOST_OPEN} commands wait for {device.id} already",
            "Wait until it has answered, or cancel some",
        )
    row = Command(
        device_id=device.id,
        cti=claims.cti.hex(),
        kid=_kids([signature.kid for signature in signatures]),
        opcode=claims.opcode,
        message=message,
        digest=hashlib.sha256(message).hexdigest(),
        nonce=claims.nonce.hex() if claims.nonce is not None else None,
        expires_at=claims.expires * 1000,
    )
    commands.add(session, row, g.actor)
    if signed is not None:
        commands.verified(session, row.id, signed.role)
        session.refresh(row)
    audit.record(session, g.actor, "command.relay", device.id, cti=row.cti, kid=row.kid, opcode=row.opcode)
    return row


def _kids(kids: list[bytes]) -> str:
    return " ".join(kid.hex() for kid in kids)


@blueprint.get("/commands/<cti>")
@requires("read")
def show(cti: str) -> dict[str, Any]:
    with context.store().read() as session:
        return serialize.command(session, _find(session, cti), whole=True)


@blueprint.post("/commands/<cti>/cancel")
@requires("command")
def cancel(cti: str) -> dict[str, Any]:
    with context.store().write() as session:
        row = _find(session, cti)
        if row.state != "cancelled":
            if not commands.cancel(session, row.id, g.actor):
                session.refresh(row)
                raise _too_late(row)
            audit.record(session, g.actor, "command.cancel", row.device_id, cti=row.cti, opcode=row.opcode)
            session.refresh(row)
        return serialize.command(session, row, whole=True)


def _too_late(row: Command) -> Problem:
    on_its_way = row.state in OPEN
    return Problem(
        409,
        "too-late",
        f"command {row.cti} is {'on its way to' if on_its_way else row.state + ', for'} {row.device_id}",
        "What a device may have heard cannot be taken back" if on_its_way else "There is nothing to cancel",
    )


def _find(session: Session, cti: str) -> Command:
    device = request.args.get("device")
    device_id = None if device is None else devices.get(session, device).id
    row = commands.get(session, cti[:17].lower(), device_id)
    if row is None:
        raise Problem(
            404, "no-such-command", f"no command {cti[:64]} was sent from here", "Check the cti (16 hex digits)"
        )
    return row


@blueprint.get("/commands")
@requires("read")
def list_commands() -> dict[str, Any]:
    device, group, state = (request.args.get(name) for name in ("device", "group", "state"))
    if state is not None and state not in STATES:
        raise Problem(400, "invalid-parameter", f"{state!r:.40} is not a state", f"States: {', '.join(STATES)}")
    with context.store().read() as session:
        device_id = None if device is None else devices.get(session, device).id
        rows = commands.listed(session, context.limit(), device_id, group, state)
        return {"commands": serialize.command_list(session, rows)}


@blueprint.get("/devices/<device_id>/opcodes")
@requires("read")
def opcodes(device_id: str) -> dict[str, Any]:
    """What the device last answered to `ops`, and when; null if it was never asked."""
    with context.store().read() as session:
        row = commands.last_done(session, devices.get(session, device_id).id, "ops")
        return {"asked": None if row is None else serialize.command(session, row, whole=True)}
