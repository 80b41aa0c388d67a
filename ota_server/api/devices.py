"""Devices: registration, and everything known about one."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from ota_server.api import context, serialize
from ota_server.errors import Problem
from ota_server.fleet import enrolment
from ota_server.security import audit, passwords
from ota_server.security.tokens import requires
from ota_server.store import alarms, commands, devices, identity, telemetry, trust_updates
from ota_server.store.models import Device, Report
from tidegate.names import BOARD, DEVICE_ID, DEVICE_NAME, PRODUCT

blueprint = Blueprint("devices", __name__)

_RECENT = 20


@blueprint.post("/devices")
@requires("devices")
def register() -> tuple[dict[str, Any], int]:
    body = context.json_body("id", "board", "product")
    for member, name in (("id", DEVICE_ID), ("board", BOARD), ("product", PRODUCT)):
        if not name.fits(body[member]):
            raise Problem(400, "invalid-device", name.refusal(body[member]), name.remedy)
    with context.store().write() as session:
        if session.get(Device, body["id"]) is not None:
            raise Problem(
                409,
                "device-exists",
                f"device {body['id']} is already registered",
                f"For a new password: POST /api/v1/devices/{body['id']}/credentials",
            )
        if not enrolment.name_is_free(session, body["id"]):
            raise name_taken(body["id"])
        target = devices.newest_target(session, body["product"], body["board"])
        device = Device(**body, password_hash=passwords.NOBODY, offer_id=target.id if target else None)
        session.add(device)
        session.flush()
        key, password = context.coap_keys().issue(session, body["id"])
        device.password_hash = passwords.hashed(password)
        audit.record(session, g.actor, "device.register", body["id"], board=body["board"], product=body["product"])
    context.access_changed(body["id"])
    context.wake_worker()
    return {**body, **_secrets(body["id"], password, key)}, 201


@blueprint.post("/devices/<device_id>/credentials")
@requires("devices")
def new_credentials(device_id: str) -> dict[str, Any]:
    """A fresh password and CoAP key; the old ones stop working for the next connection and the next message."""
    with context.store().write() as session:
        row = get(session, device_id)
        if row.revoked_at is not None:
            raise Problem(
                409,
                "device-revoked",
                f"device {row.id} is revoked",
                f"To take it back: tidegate device claim --device {row.id}",
            )
        key, password = context.coap_keys().issue(session, row.id)
        row.password_hash = passwords.hashed(password)
        identity.begin(row, None)
        audit.record(session, g.actor, "device.credentials", row.id)
    context.access_changed(row.id)
    return {"id": row.id, **_secrets(row.id, password, key)}


@blueprint.post("/devices/<device_id>/revoke")
@requires("devices")
def revoke(device_id: str) -> dict[str, Any]:
    """Put the device out: no login, no message, no offer, no command and no claim of it counts any more."""
    with context.store().write() as session:
        row = get(session, device_id)
        withdrawn = enrolment.withdraw(session, row.id)
        session.get(Device, row.id, with_for_update=True)  # one of them may just have taken it back
        if row.revoked_at is None:
            devices.revoke(session, row, g.actor)
            row.password_hash = passwords.hashed(passwords.generate())
            context.coap_keys().issue(session, row.id)
            audit.record(session, g.actor, "device.revoke", row.id)
        for claim in withdrawn:
            audit.record(session, g.actor, "claim.revoke", claim.id, device=row.id)
        answer = serialize.device(row)
    context.access_changed(row.id)
    context.wake_worker()
    return answer


@blueprint.patch("/devices/<device_id>")
@requires("devices")
def rename(device_id: str) -> dict[str, Any]:
    name = context.json_body("name")["name"]
    if name is not None and not DEVICE_NAME.fits(name):
        raise Problem(400, "invalid-name", DEVICE_NAME.refusal(name), DEVICE_NAME.remedy)
    with context.store().write() as session:
        row = get(session, device_id)
        if name not in (None, row.name, row.id) and not enrolment.name_is_free(session, name):
            raise name_taken(name)
        if name != row.name:
            audit.record(session, g.actor, "device.rename", row.id, name=name, before=row.name)
        row.name = name
        return serialize.device(row)


@blueprint.get("/devices")
@requires("read")
def list_devices() -> dict[str, Any]:
    with context.store().read() as session:
        rows = devices.listed(session, context.limit(), request.args.get("after", "")[:32])
        newest = trust_updates.newest_version(session)
        return {"devices": [{**serialize.device(row), "trust": serialize.trust(row, newest)} for row in rows]}


@blueprint.get("/devices/<device_id>")
@requires("read")
def show(device_id: str) -> dict[str, Any]:
    with context.store().read() as session:
        row = get(session, device_id)
        return {
            **serialize.device(row),
            "trust": serialize.trust(row, trust_updates.newest_version(session)),
            "data": serialize.device_data(session, row.id),
            "telemetry": serialize.latest(session, row.id),
            "streams": [serialize.stream(s) for s in telemetry.streams(session, row.id)],
            "reports": [serialize.report(r) for r in _reports(session, row.id, _RECENT, 0)],
            "crash": next((serialize.alarm(crash) for crash in alarms.last_crashes(session, [row.id]).values()), None),
            "alarms": [serialize.alarm(a) for a in alarms.listed(session, _RECENT, row.id)],
            "commands": serialize.command_list(session, commands.listed(session, _RECENT, row.id)),
        }


@blueprint.get("/devices/<device_id>/reports")
@requires("read")
def reports(device_id: str) -> dict[str, Any]:
    with context.store().read() as session:
        row = get(session, device_id)
        return {"reports": [serialize.report(r) for r in _reports(session, row.id, context.limit(), context.since())]}


@blueprint.get("/devices/<device_id>/alarms")
@requires("read")
def device_alarms(device_id: str) -> dict[str, Any]:
    with context.store().read() as session:
        row = get(session, device_id)
        rows = alarms.listed(session, context.limit(), row.id, context.since())
        return {"alarms": [serialize.alarm(alarm) for alarm in rows]}


def get(session: Session, device_id: str) -> Device:
    """The device with this id or name, or a problem that says there is none."""
    row = devices.find(session, device_id)
    if row is None:
        raise Problem(
            404, "no-such-device", f"there is no device {device_id[:64]}", "tidegate device list shows the devices"
        )
    return row


def name_taken(name: str) -> Problem:
    return Problem(
        409, "name-taken", f"{name} is the name or id of another device, or promised to one", "Choose another"
    )


def _secrets(device_id: str, password: str, key: bytes) -> dict[str, Any]:
    """What is told this once."""
    return {"mqtt": {"user": device_id, "password": password}, "coap": {"key": key.hex()}}


def _reports(session: Session, device_id: str, limit: int, since: int) -> list[Report]:
    wanted = select(Report).where(Report.device_id == device_id, Report.id > since)
    return list(session.scalars(wanted.order_by(Report.id.desc()).limit(limit)))
