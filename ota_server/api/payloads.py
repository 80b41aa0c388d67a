"""Payloads: PUT by publishers, GET by anyone; immutable, so any cache may keep them for good."""

from __future__ import annotations

from flask import Blueprint, Response, g, request, send_file

from ota_server.api import conditions, context
from ota_server.api.auth import requires
from ota_server.api.validate import takes
from ota_server.errors import Invalid, NotFound, StorageFull, TooLarge
from ota_server.security import audit
from ota_server.store import releases
from ota_server.store.models import Payload

blueprint = Blueprint("payloads", __name__)


@blueprint.get("/p/<name>")
@takes(answer="application/octet-stream")
def fetch(name: str) -> Response:
    """The payload with this SHA-256; it never changes."""
    path = context.payloads().path(name)
    if not path.is_file():
        raise NotFound("no-such-payload", f"there is no payload {name}", "Check the digest; was it published here?")
    conditions.simplify(request.environ, name, path.stat().st_size)
    response = send_file(path, mimetype="application/octet-stream", conditional=True, etag=name, max_age=31_536_000)
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    response.headers["Accept-Ranges"] = "bytes"
    for header in ("Content-Disposition", "Expires", "Last-Modified"):
        response.headers.pop(header, None)  # devices have small header buffers
    return response


@blueprint.put("/api/v1/payloads/<name>")
@requires("publish", in_channel=True)
@takes(raw="application/octet-stream", success=201)
def upload(name: str) -> tuple[dict[str, object], int]:
    """Store a payload under its SHA-256: 201; 200 if it was there."""
    payloads = context.payloads()
    path = payloads.path(name)
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
    if not path.is_file():
        if (declared or 0) > room:
            raise StorageFull(f"payload {name}: {max(0, room)} bytes are left of the payload store")
        payloads.store(name, request.stream)  # type: ignore[arg-type]
    size = path.stat().st_size
    if not known:  # also when an earlier upload got its file but not its record onto a full disk
        with context.store().write() as session:
            known = session.get(Payload, name) is not None
            if not known:
                session.add(Payload(digest=name, size=size))
                audit.record(session, g.actor, "payload.store", name, size=size)
    return {"digest": name, "size": size, "stored": not known}, 200 if known else 201
