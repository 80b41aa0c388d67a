"""Claims, and the one address that needs no token: where a board with a claim becomes a device (docs/enrolment.md)."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, g, request
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from ota_server.api import context, devices, serialize
from ota_server.api.auth import requires
from ota_server.api.shapes import Limit, MakeClaim
from ota_server.api.validate import takes
from ota_server.errors import Conflict, Invalid, NotFound, Problem, TooManyRequests, Unavailable
from ota_server.fleet import enrolment
from ota_server.peer_key import peer_key
from ota_server.security import audit
from ota_server.store import groups, now_ms
from ota_server.store.models import Claim, Group
from ota_server.token_bucket import TokenBuckets
from tidegate import enrolment as wire

blueprint = Blueprint("enrol", __name__)

_KIND = "application/cbor"
# An evening's work behind one address: 40 gateways that ask again when they were refused. Each costs two hashes.
_BURST, _RATE = 100, 10


def make_limit() -> TokenBuckets:
    return TokenBuckets(_RATE, _BURST)


@blueprint.post("/enrol")
@takes(raw=_KIND, answer=_KIND)
def enrol() -> Response:
    """Where a board with a claim becomes a device: CBOR both ways (docs/enrolment.md)."""
    if not current_app.extensions["enrol_limit"].take(peer_key(request.remote_addr or "")):
        raise TooManyRequests("too-often", "too many enrolments from this address", "Ask again later")
    data = request.stream.read(wire.MAX_REQUEST + 1)
    keys = context.coap_keys()
    verified = enrolment.verify(keys, wire.decode_request(data))
    try:
        with context.store().write() as session:
            outcome = enrolment.enrol(session, keys, verified, context.config().trust_file)
    except IntegrityError:  # another request for the same device was faster
        raise Unavailable("busy", "this device is being enrolled by another request", "Ask again") from None
    if outcome.refused is not None:
        raise outcome.refused
    if outcome.changed is not None:
        context.access_changed(outcome.changed)
        context.wake_worker()
    return Response(outcome.answer, mimetype=_KIND)


@blueprint.post("/claims")
@requires("devices")
@takes(MakeClaim, success=201)
def issue(body: MakeClaim) -> tuple[dict[str, Any], int]:
    """Make a claim; its secret is shown only now."""
    with context.store().write() as session:
        claim = Claim(expires_at=now_ms() + body.expires_s * 1000)
        claim.name, claim.board, claim.product = body.name, body.board, body.product
        if body.device is not None:
            if body.group is not None or claim.name is not None:
                raise _unusable("a device that is known keeps its group and its name", "Change them by themselves")
            device = devices.get(session, body.device)
            if (body.product or device.product, body.board or device.board) != (device.product, device.board):
                is_now = f"{device.id} is {device.product} on {device.board}, and its claim cannot make another of it"
                raise _unusable(is_now, f"Put that right first: tidegate device set {device.id} --product PRODUCT")
            claim.device_id, claim.group = device.id, device.group
        else:
            claim.group = body.group or groups.DEFAULT
            if session.get(Group, claim.group) is None:
                detail = f"there is no group {claim.group[:64]}"
                raise NotFound("no-such-group", detail, "Make it first: tidegate group set")
            if claim.name is not None and not enrolment.name_is_free(session, claim.name):
                raise devices.name_taken(claim.name)
        text = enrolment.issue(session, context.coap_keys(), claim, g.actor)
        return {**serialize.claim(claim), "claim": text}, 201


@blueprint.get("/claims")
@requires("read")
@takes(query=Limit)
def list_claims(query: Limit) -> dict[str, Any]:
    """Claims, newest first, each open, used, expired or revoked."""
    with context.store().read() as session:
        rows = session.scalars(select(Claim).order_by(Claim.created_at.desc(), Claim.id).limit(query.rows))
        return {"claims": [serialize.claim(row) for row in rows]}


@blueprint.delete("/claims/<claim_id>")
@requires("devices")
def revoke(claim_id: str) -> dict[str, Any]:
    """Revoke an open claim."""
    with context.store().write() as session:
        row = session.get(Claim, claim_id[:16].lower(), with_for_update=True)
        if row is None:
            raise NotFound("no-such-claim", f"there is no claim {claim_id[:64]}", "See: tidegate device claims")
        if row.used_at is not None:
            raise Conflict(
                "claim-used", f"{row.used_by} has used it", f"tidegate device revoke {row.used_by} ends that"
            )
        if row.revoked_at is None:
            row.revoked_at = now_ms()
            audit.record(session, g.actor, "claim.revoke", row.id)
        return serialize.claim(row)


def _unusable(what: str, remedy: str = "See docs/enrolment.md") -> Problem:
    return Invalid("invalid-claim", what, remedy)
