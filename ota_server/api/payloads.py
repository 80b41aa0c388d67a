"""Payloads: PUT by publishers, GET by anyone; immutable, so any cache may keep them for good."""

from __future__ import annotations

import os

from flask import Blueprint, Response, g, request
from werkzeug.wsgi import wrap_file

from ota_server.api import conditions, context
from ota_server.api.auth import requires
from ota_server.api.validate import takes
from ota_server.errors import Invalid, StorageFull, TooLarge
from ota_server.releases.payload_stores import redirect
from ota_server.releases.payloads import check_name
from ota_server.security import audit
from ota_server.store import releases
from ota_server.store.models import Payload

blueprint = Blueprint("payloads", __name__)

_KIND = "application/octet-stream"
_LONGEST_REDIRECT = 512  # bytes; boards refuse a longer one


@blueprint.get("/p/<name>")
@takes(answer="application/octet-stream")
def fetch(name: str) -> Response:
    """The payload with this SHA-256; it never changes."""
    payloads = context.payloads()
    elsewhere = redirect(context.config(), payloads, check_name(name))
    if elsewhere is not None and _can_follow(elsewhere):
        response = Response(status=302, headers={"Location": elsewhere, "Cache-Control": "no-store"})
        response.autocorrect_location_header = False
        return response
    file = payloads.open(name)
    try:
        size = os.fstat(file.fileno()).st_size
        conditions.simplify(request.environ, name, size)
        response = Response(wrap_file(request.environ, file), mimetype=_KIND, direct_passthrough=True)
        response.content_length = size
        response.set_etag(name)
        response.make_conditional(request.environ, accept_ranges=True, complete_length=size)
    except BaseException:
        file.close()
        raise
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    response.headers["Accept-Ranges"] = "bytes"
    return response


def _can_follow(address: str) -> bool:
    """Whether a board that came as this request did follows there (firmware/lib/http_client/redirect.py)."""
    return len(address) <= _LONGEST_REDIRECT and address.partition(":")[0].lower() == request.scheme


@blueprint.put("/api/v1/payloads/<name>")
@requires("publish", in_channel=True)
@takes(raw="application/octet-stream", success=201, again=True)
def upload(name: str) -> tuple[dict[str, object], int]:
    """Store a payload under its SHA-256: 201; 200 if it was there."""
    payloads = context.payloads()
    check_name(name)
    request.max_content_length = payloads.max_size
    if "Content-Range" in request.headers:  # RFC 9110, 9.3.4: or a part would be taken for the whole
        raise Invalid("partial", "a payload is sent as a whole, not in parts", "Leave Content-Range out")
    declared = request.content_length
    if declared is not None and declared > payloads.max_size:
        raise TooLarge(
            "too-large",
            f"a payload has at most {payloads.max_size} bytes, this one has {declared}",
            "Is it the right file?",
        )
    with context.store().read() as session:
        known = session.get(Payload, name) is not None
        room = context.config().max_payload_store - releases.stored_bytes(session)
    if not (payloads.has(name) and payloads.is_sound(name)):  # one that was damaged is put right
        if (declared or 0) > room:
            raise StorageFull(f"payload {name}: {max(0, room)} bytes are left of the payload store")
        payloads.store(name, request.stream)  # type: ignore[arg-type]
    with payloads.open(name) as file:
        size = os.fstat(file.fileno()).st_size
    if not known:  # also when an earlier upload got its file but not its record onto a full disk
        with context.store().write() as session:
            known = session.get(Payload, name) is not None
            if not known:
                session.add(Payload(digest=name, size=size))
                audit.record(session, g.actor, "payload.store", name, size=size)
    return {"digest": name, "size": size, "stored": not known}, 200 if known else 201
