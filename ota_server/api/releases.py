"""Releases: published whole, after everything about them was checked."""

from __future__ import annotations

import base64
from typing import Any

from flask import Blueprint, g
from sqlalchemy.orm import Session

from ota_server.api import context, serialize
from ota_server.api.auth import requires
from ota_server.api.publication_shapes import PublishRelease
from ota_server.api.shapes import FetchReleases, Releases
from ota_server.api.validate import takes
from ota_server.releases import dry_run as releases_plan
from ota_server.releases import trust
from ota_server.releases.accept import accept
from ota_server.releases.images import ImageCandidate
from ota_server.security import tokens
from ota_server.store import groups
from ota_server.store import releases as stored
from ota_server.store.models import Release
from ota_server.store.pages import MOST_ID

blueprint = Blueprint("releases", __name__)

_MOST_FETCHED = 8  # releases in one answer, with their envelopes


@blueprint.post("/releases")
@requires("publish", in_channel=True)
@takes(PublishRelease, success=201, again=True)
def publish(body: PublishRelease) -> tuple[dict[str, Any], int]:
    """Publish a release: 201; 200 if the same was published before."""
    publication = accept(context.store(), context.payloads(), context.config(), _candidate(body), g.actor)
    context.wake_worker()
    answer = {
        **serialize.release(publication.stored),
        "published": publication.created,
        "offered": publication.offered,
        "warnings": publication.warnings,
    }
    return answer, 201 if publication.created else 200


@blueprint.post("/releases/plan")
@requires("publish", in_channel=True)
@takes(PublishRelease)
def plan(body: PublishRelease) -> dict[str, Any]:
    """The dry run of publishing a release: missing payloads, and what devices would get."""
    candidate = _candidate(body)
    with context.store().read() as session:
        keys = trust.current(session, context.config())
        return releases_plan.plan(
            session, candidate, keys, context.payloads(), name_devices=tokens.allowed(g.token, "read")
        )


@blueprint.get("/releases")
@requires("read")
@takes(query=Releases)
def list_releases(query: Releases) -> dict[str, Any]:
    """Releases, newest first."""
    with context.store().read() as session:
        rows = stored.listed(session, query.rows, query.product)
        return {"releases": [{**serialize.release(row), "channels": groups.channels(session, row.id)} for row in rows]}


@blueprint.get("/releases/<product>/fetch")
@requires("publish", in_channel=True)
@takes(query=FetchReleases)
def fetch(product: str, query: FetchReleases) -> dict[str, Any]:
    """The newest releases of a product with their envelopes, newest first.

    New ones are linked and diffed against them. Their payloads are at /p/.
    """
    most = min(max(1, query.limit), _MOST_FETCHED)
    with context.store().read() as session:
        rows = stored.before(session, product, query.before or MOST_ID, most, query.version)
        return {
            "releases": [
                {**serialize.release(row), "envelopes": _envelopes(row), "bases": _bases(session, row)} for row in rows
            ]
        }


def _envelopes(row: Release) -> dict[str, str]:
    return {target.board: base64.b64encode(target.envelope).decode() for target in row.targets}


def _bases(session: Session, row: Release) -> dict[str, dict[str, Any]]:
    """What the images that its patches start from were published as."""
    digests = {patch["base"] for target in row.targets for patch in target.patches}
    found = {digest: stored.by_image(session, row.product, digest) for digest in digests}
    return {digest: {"version": base.version, "sequence": base.sequence} for digest, base in found.items() if base}


def _candidate(body: PublishRelease) -> ImageCandidate:
    """The release in the body. Raises Forbidden if the token may not publish into its channel."""
    only_in = None if g.channels is None else frozenset(g.channels)
    names = (body.product, body.vendor, body.version, body.sequence)
    candidate = ImageCandidate(*names, body.envelopes(), body.channel, only_in)
    candidate.check_reach()
    return candidate
