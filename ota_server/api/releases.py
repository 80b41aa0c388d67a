"""Releases: published whole, after everything about them was checked."""

from __future__ import annotations

import base64
from typing import Any

from flask import Blueprint, g, request
from sqlalchemy.orm import Session

from ota_server.api import context, serialize
from ota_server.releases import accept, trust
from ota_server.releases import plan as releases_plan
from ota_server.security import tokens
from ota_server.security.tokens import requires
from ota_server.store import groups
from ota_server.store import releases as stored
from ota_server.store.models import Release

blueprint = Blueprint("releases", __name__)

_MOST_FETCHED = 8  # releases in one answer, with their envelopes


@blueprint.post("/releases")
@requires("publish", in_channel=True)
def publish() -> tuple[dict[str, Any], int]:
    wanted = _wanted()
    outcome = accept.accept(context.store(), context.payloads(), context.config(), wanted, g.actor)
    context.wake_worker()
    body = {
        **serialize.release(outcome.release),
        "published": outcome.created,
        "offered": outcome.offered,
        "warnings": outcome.warnings,
    }
    return body, 201 if outcome.created else 200


@blueprint.post("/releases/plan")
@requires("publish", in_channel=True)
def plan() -> dict[str, Any]:
    """What publishing the release would do, which it does not."""
    wanted = _wanted()
    with context.store().read() as session:
        keys = trust.current(session, context.config())
        return releases_plan.plan(
            session, wanted, keys, context.payloads(), name_devices=tokens.allowed(g.token, "read")
        )


@blueprint.get("/releases")
@requires("read")
def list_releases() -> dict[str, Any]:
    with context.store().read() as session:
        rows = stored.listed(session, context.limit(), request.args.get("product"))
        return {"releases": [{**serialize.release(row), "channels": groups.channels(session, row.id)} for row in rows]}


@blueprint.get("/releases/<product>/fetch")
@requires("publish", in_channel=True)
def fetch(product: str) -> dict[str, Any]:
    """The newest releases of a product with their envelopes, newest first, below the number `before` if that is given:
    what new ones are linked and diffed against. Their payloads are at /p/."""
    most = min(max(1, context.number("limit", 1, 2**31)), _MOST_FETCHED)
    before = context.number("before", 0, 2**53) or 2**53
    with context.store().read() as session:
        rows = stored.before(session, product, before, most, request.args.get("version"))
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


def _wanted() -> accept.Candidate:
    """The release in the body, if the token may publish it where it is to stand."""
    return accept.read(context.any_json(), None if g.channels is None else frozenset(g.channels))
