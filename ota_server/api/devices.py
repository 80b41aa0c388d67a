"""Devices: registration, and everything known about one."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g
from sqlalchemy import select
from sqlalchemy.orm import Session

from ota_server.api import context, serialize
from ota_server.api.alarm_shapes import AlarmsOfDevice
from ota_server.api.auth import requires
from ota_server.api.shapes import ChangeProduct, Devices, Page, RegisterDevice, RegisterDevices, RenameDevice
from ota_server.api.validate import takes
from ota_server.errors import Conflict, NotFound, Problem
from ota_server.fleet import enrolment, registration
from ota_server.security import audit, password_hashes
from ota_server.store import alarms, clone_detection, commands, devices, groups, offers, telemetry, trust_updates
from ota_server.store.models import Device, Report
from ota_server.store.pages import Place, page

blueprint = Blueprint("devices", __name__)

_RECENT = 20


@blueprint.post("/devices")
@requires("devices")
@takes(RegisterDevice, success=201)
def register(body: RegisterDevice) -> tuple[dict[str, Any], int]:
    """Register a device; the answer has its MQTT password and CoAP key, which are shown only now."""
    with context.store().write() as session:
        if session.get(Device, body.id) is not None:
            raise Conflict(
                "device-exists",
                f"device {body.id} is already registered",
                f"What it was registered as, tidegate device set {body.id} changes. "
                f"For new credentials: tidegate device claim --device {body.id}, "
                f"or POST /api/v1/devices/{body.id}/credentials",
            )
        if not enrolment.name_is_free(session, body.id):
            raise name_taken(body.id)
        target = devices.newest_target(session, body.product, body.board)
        device = Device(
            **body.model_dump(), password_hash=password_hashes.NOBODY, offer_id=target.id if target else None
        )
        session.add(device)
        session.flush()
        key, password = context.coap_keys().issue(session, body.id)
        device.password_hash = password_hashes.hashed(password)
        audit.record(session, g.actor, "device.register", body.id, board=body.board, product=body.product)
    context.access_changed(body.id)
    context.wake_worker()
    return {**body.model_dump(), **_secrets(body.id, password, key)}, 201


@blueprint.post("/devices/batch")
@requires("devices")
@takes(RegisterDevices, success=201, again=True)
def register_many(body: RegisterDevices) -> tuple[dict[str, Any], int]:
    """Register up to 500 devices, all or none. `known` were there as listed; the others come with their credentials."""
    wanted = [registration.Wanted(**one.model_dump()) for one in body.devices]
    with context.store().write() as session:
        done = registration.register(session, context.coap_keys(), body.request, wanted, g.actor)
    if done.made:
        context.users_changed()
        context.wake_worker()
    new = [{**one.device._asdict(), **_secrets(one.device.id, one.password, one.coap_key)} for one in done.new]
    return {"devices": new, "known": done.known}, 201 if done.made else 200


@blueprint.post("/devices/<device_id>/credentials")
@requires("devices")
def new_credentials(device_id: str) -> dict[str, Any]:
    """A fresh password and CoAP key; the old ones stop working for the next connection and the next message."""
    with context.store().write() as session:
        row = get(session, device_id)
        if row.revoked_at is not None:
            raise Conflict(
                "device-revoked",
                f"device {row.id} is revoked",
                f"To take it back: tidegate device claim --device {row.id}",
            )
        key, password = context.coap_keys().issue(session, row.id)
        row.password_hash = password_hashes.hashed(password)
        clone_detection.begin(row, None)
        audit.record(session, g.actor, "device.credentials", row.id)
    context.access_changed(row.id)
    return {"id": row.id, **_secrets(row.id, password, key)}


@blueprint.post("/devices/<device_id>/revoke")
@requires("devices")
def revoke(device_id: str) -> dict[str, Any]:
    """Revoke the device: its logins, messages, offers, commands and claims become void."""
    with context.store().write() as session:
        row = get(session, device_id)
        withdrawn = enrolment.withdraw(session, row.id)
        session.get(Device, row.id, with_for_update=True)  # one of the claims may just have enrolled it again
        if row.revoked_at is None:
            devices.revoke(session, row, g.actor)
            row.password_hash = password_hashes.hashed(password_hashes.generate())
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
@takes(RenameDevice)
def rename(device_id: str, body: RenameDevice) -> dict[str, Any]:
    """Give the device a name, or take it away."""
    name = body.name
    with context.store().write() as session:
        row = get(session, device_id)
        if name not in (None, row.name, row.id) and not enrolment.name_is_free(session, name):
            raise name_taken(name)
        if name != row.name:
            audit.record(session, g.actor, "device.rename", row.id, name=name, before=row.name)
        row.name = name
        return serialize.device(row)


@blueprint.put("/devices/<device_id>/product")
@requires("devices")
@takes(ChangeProduct)
def change_product(device_id: str, body: ChangeProduct) -> dict[str, Any]:
    """Put right what the device was registered as; it is offered what others of that product and board are."""
    with context.store().write() as session:
        groups.lock(session)
        row = get(session, device_id)
        before = {"board": row.board, "product": row.product}
        if before != body.model_dump():
            row.board, row.product = body.board, body.product
            offers.derive_for(session, row)
            audit.record(session, g.actor, "device.product", row.id, **body.model_dump(), before=before)
        answer = serialize.device(row)
    context.wake_worker()
    return answer


@blueprint.get("/devices")
@requires("read")
@takes(query=Devices)
def list_devices(query: Devices) -> dict[str, Any]:
    """Devices by id, after the id `after`."""
    with context.store().read() as session:
        rows = devices.listed(session, query.rows, query.after[:32])
        newest = trust_updates.newest_version(session)
        return {"devices": [{**serialize.device(row), "trust": serialize.trust(row, newest)} for row in rows]}


@blueprint.get("/devices/<device_id>")
@requires("read")
def show(device_id: str) -> dict[str, Any]:
    """Everything that is known of one device."""
    with context.store().read() as session:
        row = get(session, device_id)
        return {
            **serialize.device(row),
            "trust": serialize.trust(row, trust_updates.newest_version(session)),
            "data": serialize.device_data(session, row.id),
            "telemetry": serialize.latest(session, row.id),
            "streams": [serialize.stream(s) for s in telemetry.streams(session, row.id)],
            "reports": [serialize.report(r) for r in _reports(session, row.id, _RECENT, Place())],
            "crash": next((serialize.alarm(crash) for crash in alarms.last_crashes(session, [row.id]).values()), None),
            "alarms": [serialize.alarm(a) for a in alarms.listed(session, _RECENT, row.id)],
            "commands": serialize.command_list(session, commands.listed(session, _RECENT, row.id)),
        }


@blueprint.get("/devices/<device_id>/reports")
@requires("read")
@takes(query=Page)
def reports(device_id: str, query: Page) -> dict[str, Any]:
    """The device's reports of updates, newest first."""
    with context.store().read() as session:
        row = get(session, device_id)
        return {"reports": [serialize.report(r) for r in _reports(session, row.id, query.rows, query.place)]}


@blueprint.get("/devices/<device_id>/alarms")
@requires("read")
@takes(query=AlarmsOfDevice)
def device_alarms(device_id: str, query: AlarmsOfDevice) -> dict[str, Any]:
    """Alarms of the device and about it, newest first."""
    with context.store().read() as session:
        row = get(session, device_id)
        rows = alarms.listed(session, query.rows, row.id, query.place, query.only)
        return {"alarms": serialize.alarm_list(session, rows)}


def get(session: Session, device_id: str) -> Device:
    """The device with this id or name, or raises NotFound."""
    row = devices.find(session, device_id)
    if row is None:
        raise NotFound(
            "no-such-device", f"there is no device {device_id[:64]}", "tidegate device list shows the devices"
        )
    return row


def name_taken(name: str) -> Problem:
    return Conflict(
        "name-taken", f"{name} is the name or id of another device, or reserved by a claim", "Choose another"
    )


def _secrets(device_id: str, password: str, key: bytes) -> dict[str, Any]:
    """The credentials, which only this answer has."""
    return {"mqtt": {"user": device_id, "password": password}, "coap": {"key": key.hex()}}


def _reports(session: Session, device_id: str, limit: int, place: Place) -> list[Report]:
    return list(session.scalars(page(select(Report).where(Report.device_id == device_id), Report.id, limit, place)))
