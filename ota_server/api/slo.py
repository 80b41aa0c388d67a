"""Error budgets of products: shown, set, lifted for a while."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g

from ota_server.api import context, serialize
from ota_server.api.auth import requires
from ota_server.api.rollout_shapes import ErrorBudgetOf, LiftedBudget
from ota_server.api.validate import takes
from ota_server.errors import NotFound
from ota_server.releases import slo
from ota_server.store import now_ms
from tidegate import names

blueprint = Blueprint("slo", __name__)


@blueprint.get("/slo")
@requires("read")
def list_slo() -> dict[str, Any]:
    """The error budgets of all products that have one, and how they stand."""
    with context.store().read() as session:
        return {"budgets": [_shown(slo.show(session, one, now_ms())) for one in slo.products(session)]}


@blueprint.put("/slo/<product>")
@requires("rollout")
@takes(ErrorBudgetOf)
def put_slo(product: str, body: ErrorBudgetOf) -> dict[str, Any]:
    """Set the error budget of a product, or take it away with null."""
    return {"budget": _shown(slo.put(context.store(), _known(product), body.slo, g.actor))}


@blueprint.post("/slo/<product>/lift")
@requires("rollout")
@takes(LiftedBudget)
def lift_slo(product: str, body: LiftedBudget) -> dict[str, Any]:
    """Let rollouts begin for a while although the budget is spent; the audit log has who did, and why."""
    found = slo.lift(context.store(), _known(product), body.seconds, body.why, g.actor)
    context.wake_worker()
    return {"budget": _shown(found)}


def _known(product: str) -> str:
    if not names.PRODUCT.fits(product):
        raise NotFound("not-found", names.PRODUCT.refusal(product), names.PRODUCT.remedy)
    return product


def _shown(found: dict[str, Any] | None) -> dict[str, Any] | None:
    return found and {**found, "lifted_until": serialize.iso(found["lifted_until"])}
