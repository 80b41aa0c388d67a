"""Commands: signed elsewhere, checked and relayed here, followed until they are answered."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g
from sqlalchemy.orm import Session

from ota_server.api import context, devices, serialize
from ota_server.api.auth import requires
from ota_server.api.shapes import Commands, HandInCommand, OneCommand
from ota_server.api.validate import takes
from ota_server.commands.policy import CommandPolicy, SignedMessage
from ota_server.errors import Conflict, NotFound, Problem
from ota_server.security import audit
from ota_server.store import alarms, commands
from ota_server.store.models import Command, Device
from tidegate.errors import Refused
from tidegate.wire.command_states import OPEN

blueprint = Blueprint("commands", __name__)


@blueprint.post("/devices/<device_id>/commands")
@requires("command")
@takes(HandInCommand, success=202, again=True)
def hand_in(device_id: str, body: HandInCommand) -> tuple[dict[str, Any], int]:
    """Hand in a signed command for the device: 202; 200 if the same was handed in before."""
    refused: Refused | None = None
    with context.store().write() as session:
        device = devices.get(session, device_id)
        session.get(Device, device.id, with_for_update=True)  # of two that hand in the same, the second finds the first
        message = SignedMessage.decode(body.command)
        known = _known(session, device, message)
        if known is not None:
            return serialize.command(session, known), 200
        try:
            row = _new(session, device, message)
        except Refused as error:
            refused = error  # raised after the alarm is in the database
            alarms.raise_server_alarm(
                session, device.id, "command-refused", error.reason, f"handed in here: {error.message}"
            )
        else:
            answer = serialize.command(session, row)
    if refused is not None:
        raise refused
    context.wake_worker()
    return answer, 202


def _known(session: Session, device: Device, message: SignedMessage) -> Command | None:
    """The same command, if it was handed in before: perhaps our answer was lost. Nothing is sent twice for it."""
    found = commands.get(session, message.cti, device.id)
    if found is None:
        return None
    if found.digest == message.digest or (found.digest is None and found.message == message.data):
        return found
    if found.kid != message.kids:
        return None  # another key's counter, which happens to be as high
    raise Conflict(
        "counter-used",
        f"another command with the counter {found.cti} was handed in for {device.id}",
        "Sign a new one; a counter is used once",
    )


def _new(session: Session, device: Device, message: SignedMessage) -> Command:
    signed = CommandPolicy(context.config()).check(session, device, message)
    if commands.count_open(session, device.id) >= commands.MOST_OPEN:
        raise Conflict(
            "too-many",
            f"{commands.MOST_OPEN} commands wait for {device.id} already",
            "Wait until it has answered, or cancel some",
        )
    command = message.command
    row = Command(
        device_id=device.id,
        cti=message.cti,
        kid=message.kids,
        opcode=command.opcode,
        message=message.data,
        digest=message.digest,
        nonce=command.nonce.hex() if command.nonce is not None else None,
        expires_at=command.expires * 1000,
    )
    commands.add(session, row, g.actor)
    if signed is not None:
        commands.verified(session, row.id, signed.role)
        session.refresh(row)
    audit.record(session, g.actor, "command.relay", device.id, cti=row.cti, kid=row.kid, opcode=row.opcode)
    return row


@blueprint.get("/commands/<cti>")
@requires("read")
@takes(query=OneCommand)
def show(cti: str, query: OneCommand) -> dict[str, Any]:
    """One command with its arguments, result and output."""
    with context.store().read() as session:
        return serialize.command(session, _find(session, cti, query.device), whole=True)


@blueprint.post("/commands/<cti>/cancel")
@requires("command")
@takes(query=OneCommand)
def cancel(cti: str, query: OneCommand) -> dict[str, Any]:
    """Cancel a command that nobody has begun to send."""
    with context.store().write() as session:
        row = _find(session, cti, query.device)
        if row.state != "cancelled":
            if not commands.cancel(session, row.id, g.actor):
                session.refresh(row)
                raise _too_late(row)
            audit.record(session, g.actor, "command.cancel", row.device_id, cti=row.cti, opcode=row.opcode)
            session.refresh(row)
        return serialize.command(session, row, whole=True)


def _too_late(row: Command) -> Problem:
    being_sent = row.state in OPEN
    return Conflict(
        "too-late",
        f"command {row.cti} is {'being sent to' if being_sent else row.state + ', for'} {row.device_id}",
        "A command that a device may have received cannot be cancelled" if being_sent else "There is nothing to cancel",
    )


def _find(session: Session, cti: str, device: str | None) -> Command:
    device_id = None if device is None else devices.get(session, device).id
    row = commands.get(session, cti[:17].lower(), device_id)
    if row is None:
        raise NotFound("no-such-command", f"no command {cti[:64]} was sent from here", "Check the cti (16 hex digits)")
    return row


@blueprint.get("/commands")
@requires("read")
@takes(query=Commands)
def list_commands(query: Commands) -> dict[str, Any]:
    """Commands, newest first, each with its history."""
    with context.store().read() as session:
        device_id = None if query.device is None else devices.get(session, query.device).id
        rows = commands.listed(session, query.rows, device_id, query.group, query.state, query.place)
        return {"commands": serialize.command_list(session, rows)}


@blueprint.get("/devices/<device_id>/opcodes")
@requires("read")
def opcodes(device_id: str) -> dict[str, Any]:
    """The last command `ops` that the device answered; null without one."""
    with context.store().read() as session:
        row = commands.last_done(session, devices.get(session, device_id).id, "ops")
        return {"asked": None if row is None else serialize.command(session, row, whole=True)}
