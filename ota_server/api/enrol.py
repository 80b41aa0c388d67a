"""Claims, and the one address that needs no token: where a board with a claim becomes a device (docs/enrolment.md)."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, g, request
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from ota_server.api import context, devices, serialize
from ota_server.errors import Problem
from ota_server.fleet import enrolment
from ota_server.http.ratelimit import RateLimit
from ota_server.security import audit
from ota_server.security.tokens import requires
from ota_server.store import now_ms
from ota_server.store.models import Claim, Group
from tidegate import enrolment as wire
from tidegate.names import BOARD, DEVICE_NAME, PRODUCT

blueprint = Blueprint("enrol", __name__)

_KIND = "application/cbor"
# An evening's work behind one address: 40 gateways that ask again when they were refused. Each costs two hashes.
_BURST, _RATE = 100, 10
_MEMBERS = {"device", "group", "name", "board", "product", "expires_s"}


def init_limit() -> RateLimit:
    return RateLimit(_BURST, _RATE)


@blueprint.post("/enrol")
def enrol() -> Response:
    if not current_app.extensions["enrol_limit"].take(request.remote_addr or ""):
        raise Problem(429, "too-often", "too many enrolments from this address", "Ask again later", Retry_After="10")
    data = request.stream.read(wire.MAX_REQUEST + 1)
    keys = context.coap_keys()
    asked = enrolment.judge(keys, wire.decode_request(data))
    try:
        with context.store().write() as session:
            outcome = enrolment.enrol(session, keys, asked, context.config().trust_file)
    except IntegrityError:  # another request for the same device was faster
        raise Problem(503, "busy", "this device is being enrolled by another request", "Ask again") from None
    if outcome.refused is not None:
        raise outcome.refused
    if outcome.changed is not None:
        context.access_changed(outcome.changed)
        context.wake_worker()
    return Response(outcome.answer, mimetype=_KIND)


@blueprint.post("/claims")
@requires("devices")
def issue() -> tuple[dict[str, Any], int]:
    body = context.any_json()
    if not isinstance(body, dict) or not set(body) <= _MEMBERS:
        raise _unusable(f"the body must be a JSON object with none but {', '.join(sorted(_MEMBERS))}")
    expires_s = body.get("expires_s", enrolment.DEFAULT_EXPIRY_S)
    if not isinstance(expires_s, int) or isinstance(expires_s, bool) or not 1 <= expires_s <= enrolment.MAX_EXPIRY_S:
        raise _unusable(f"expires_s must be a number from 1 to {enrolment.MAX_EXPIRY_S}")
    for member, name in (("name", DEVICE_NAME), ("board", BOARD), ("product", PRODUCT)):
        if body.get(member) is not None and not name.fits(body[member]):
            raise _unusable(name.refusal(body[member]), name.remedy)
    with context.store().write() as session:
        claim = Claim(expires_at=now_ms() + expires_s * 1000)
        claim.name, claim.board, claim.product = body.get("name"), body.get("board"), body.get("product")
        if body.get("device") is not None:
            if body.get("group") is not None or claim.name is not None:
                raise _unusable("a device that is known keeps its group and its name", "Change them by themselves")
            device = devices.get(session, str(body["device"]))
            claim.device_id, claim.group = device.id, device.group
        else:
            claim.group = str(body.get("group") or "default")
            if session.get(Group, claim.group) is None:
                detail = f"there is no group {claim.group[:64]}"
                raise Problem(404, "no-such-group", detail, "Make it first: tidegate group set")
            if claim.name is not None and not enrolment.name_is_free(session, claim.name):
                raise devices.name_taken(claim.name)
        text = enrolment.issue(session, context.coap_keys(), claim, g.actor)
        return {**serialize.claim(claim), "claim": text}, 201


@blueprint.get("/claims")
@requires("read")
def list_claims() -> dict[str, Any]:
    """Newest first."""
    with context.store().read() as session:
        rows = session.scalars(select(Claim).order_by(Claim.created_at.desc(), Claim.id).limit(context.limit()))
        return {"claims": [serialize.claim(row) for row in rows]}


@blueprint.delete("/claims/<claim_id>")
@requires("devices")
def revoke(claim_id: str) -> dict[str, Any]:
    with context.store().write() as session:
        row = session.get(Claim, claim_id[:16].lower(), with_for_update=True)
        if row is None:
            raise Problem(404, "no-such-claim", f"there is no claim {claim_id[:64]}", "See: tidegate device claims")
        if row.used_at is not None:
            raise Problem(
                409, "claim-used", f"{row.used_by} has used it", f"tidegate device revoke {row.used_by} ends that"
            )
        if row.revoked_at is None:
            row.revoked_at = now_ms()
            audit.record(session, g.actor, "claim.revoke", row.id)
        return serialize.claim(row)


def _unusable(what: str, remedy: str = "See docs/enrolment.md") -> Problem:
    return Problem(400, "invalid-claim", what, remedy)
