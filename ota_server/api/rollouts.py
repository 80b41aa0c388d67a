"""Rollouts: releases on their way to channels and groups, and how far they have come."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

from ota_server.api import context
from ota_server.api.auth import requires
from ota_server.api.rollout_shapes import RolloutPage, RolloutTarget
from ota_server.api.shapes import OfProduct
from ota_server.api.validate import takes
from ota_server.fleet import rollout_progress, rollouts
from ota_server.releases import dry_run as releases_plan
from ota_server.releases import lookup
from ota_server.security import tokens

blueprint = Blueprint("rollouts", __name__)


@blueprint.get("/rollouts")
@requires("read")
@takes(query=OfProduct)
def list_rollouts(query: OfProduct) -> dict[str, Any]:
    """Releases that some group is pinned to or that are the newest of a channel, with counts of devices."""
    with context.store().read() as session:
        return {"rollouts": rollouts.listed(session, query.product)}


@blueprint.get("/rollouts/<product>/<version>")
@requires("read")
@takes(query=RolloutPage)
def show(product: str, version: str, query: RolloutPage) -> dict[str, Any]:
    """How far a release has come, and a page of its devices, those in trouble first."""
    with context.store().read() as session:
        return rollout_progress.status(session, lookup.find(session, product, version), query.page)


@blueprint.post("/rollouts/<product>/<version>/plan")
@requires("rollout")
@takes(RolloutTarget)
def plan(product: str, version: str, body: RolloutTarget) -> dict[str, Any]:
    """The dry run of starting a rollout: what devices would get."""
    with context.store().read() as session:
        release = lookup.find(session, product, version)
        if body.group is not None:
            rollouts.find_group(session, body.group)
        named = tokens.allowed(g.token, "read")
        return {"devices": releases_plan.rollout_plan(session, release, body.where, name_devices=named)}


@blueprint.post("/rollouts/<product>/<version>/start")
@requires("rollout")
@takes(RolloutTarget)
def start(product: str, version: str, body: RolloutTarget) -> dict[str, Any]:
    """Bring a published release to a channel or a group."""
    answer = rollouts.start(context.store(), product, version, body.where, g.actor)
    context.wake_worker()
    return _for_caller(answer)


@blueprint.post("/rollouts/<product>/<version>/stop")
@requires("rollout")
@takes(RolloutTarget)
def stop(product: str, version: str, body: RolloutTarget) -> dict[str, Any]:
    """Offer the release to no more devices of a channel or a group."""
    answer = rollouts.stop(context.store(), product, version, body.where, g.actor)
    context.wake_worker()
    return _for_caller(answer)


@blueprint.post("/rollouts/<product>/<version>/retry")
@requires("rollout")
def retry(product: str, version: str) -> dict[str, Any]:
    """Offer the release once more to the devices that failed at it or wait before they try again."""
    answer = rollouts.retry(context.store(), product, version, g.actor)
    context.wake_worker()
    return _for_caller(answer)


def _for_caller(status: dict[str, Any]) -> dict[str, Any]:
    """Callers without the scope `read` get counts, but not which devices they are."""
    if tokens.allowed(g.token, "read"):
        return status
    return {name: status[name] for name in status if name not in ("devices", "next", "retried")}
