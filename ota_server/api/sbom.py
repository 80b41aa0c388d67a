"""The bill of materials of a release: taken once, if the release keys signed it, and served."""

from __future__ import annotations

import base64
from typing import Any

from flask import Blueprint, g

from ota_server.api import context
from ota_server.api.auth import requires
from ota_server.api.publication_shapes import PutSbom
from ota_server.api.validate import takes
from ota_server.errors import Conflict, Forbidden, NotFound
from ota_server.releases import lookup, trust
from ota_server.security import audit
from ota_server.store import groups
from ota_server.store.models import ReleaseSbom
from tidegate.release import sbom

blueprint = Blueprint("sbom", __name__)


@blueprint.put("/releases/<product>/<version>/sbom")
@requires("publish", in_channel=True)
@takes(PutSbom)
def put(product: str, version: str, body: PutSbom) -> dict[str, Any]:
    """Store the SBOM of a published release (CycloneDX JSON), once, if enough release keys signed it."""
    with context.store().write() as session:
        release = lookup.find(session, product, version)
        if g.channels is not None and not {release.channel, *groups.channels(session, release.id)} & set(g.channels):
            raise Forbidden("forbidden", f"this token may not publish into {release.channel}", "Use a token that may")
        keys = trust.current(session, context.config())
        sbom.verify(body.document, body.signature, (release.product, release.version, release.sequence), keys)
        known = session.get(ReleaseSbom, release.id)
        if known is not None and known.document != body.document:
            raise Conflict("sbom", f"{product} {version} has another SBOM", "A release has one: make a newer release")
        if known is None:
            session.add(ReleaseSbom(release_id=release.id, document=body.document, signature=body.signature))
            audit.record(session, g.actor, "release.sbom", f"{product} {version}", sequence=release.sequence)
        return {"product": product, "version": version, "stored": known is None}


@blueprint.get("/releases/<product>/<version>/sbom")
@requires("read")
def show(product: str, version: str) -> dict[str, Any]:
    """The SBOM of a release and the signature of it, both in base64 so that their bytes can be verified."""
    with context.store().read() as session:
        release = lookup.find(session, product, version)
        row = session.get(ReleaseSbom, release.id)
        if row is None:
            raise NotFound(
                "no-sbom",
                f"{product} {version} has no SBOM here",
                "It was published without one: sign the release again, and publish it again",
            )
        return {
            "product": release.product,
            "version": release.version,
            "sequence": release.sequence,
            "document": base64.b64encode(row.document).decode(),
            "signature": base64.b64encode(row.signature).decode(),
        }
