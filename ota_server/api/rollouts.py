"""Rollouts: releases on their way to channels and groups, and how far they have come."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, request

from ota_server.api import context
from ota_server.errors import Problem
from ota_server.releases import plan as releases_plan
from ota_server.releases import rollouts
from ota_server.releases.accept import check_channel
from ota_server.security import tokens
from ota_server.security.tokens import requires

blueprint = Blueprint("rollouts", __name__)


@blueprint.get("/rollouts")
@requires("read")
def list_rollouts() -> dict[str, Any]:
    with context.store().read() as session:
        return {"rollouts": rollouts.listed(session, request.args.get("product"))}


@blueprint.get("/rollouts/<product>/<version>")
@requires("read")
def show(product: str, version: str) -> dict[str, Any]:
    with context.store().read() as session:
        return rollouts.status(session, rollouts.find(session, product, version))


@blueprint.post("/rollouts/<product>/<version>/plan")
@requires("rollout")
def plan(product: str, version: str) -> dict[str, Any]:
    """What starting it would bring to whom, which this does not do."""
    where = _where()
    with context.store().read() as session:
        release = rollouts.find(session, product, version)
        if where[0] == "group":
            rollouts.find_group(session, where[1])
        named = tokens.allowed(g.token, "read")
        return {"devices": releases_plan.rollout_plan(session, release, where, name_devices=named)}


@blueprint.post("/rollouts/<product>/<version>/start")
@requires("rollout")
def start(product: str, version: str) -> dict[str, Any]:
    """Body: {"channel": name} or {"group": name}."""
    told = rollouts.start(context.store(), product, version, _where(), g.actor)
    context.wake_worker()
    return _for_caller(told)


@blueprint.post("/rollouts/<product>/<version>/stop")
@requires("rollout")
def stop(product: str, version: str) -> dict[str, Any]:
    told = rollouts.stop(context.store(), product, version, _where(), g.actor)
    context.wake_worker()
    return _for_caller(told)


def _for_caller(told: dict[str, Any]) -> dict[str, Any]:
    """Which devices it concerns is for those who may read; the others get the counts."""
    return told if tokens.allowed(g.token, "read") else {name: told[name] for name in told if name != "devices"}


def _where() -> tuple[str, str]:
    body = context.any_json()
    if not isinstance(body, dict) or len(body) != 1 or not set(body) <= {"channel", "group"}:
        raise Problem(400, "invalid-body", "the body must have the member channel or the member group", "Name one")
    ((kind, name),) = body.items()
    return kind, check_channel(name)
