"""The rollouts in waves that fleet.yaml declares: which are to be started, and which it does not name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tidegate.client import Server, ServerError
from tidegate.fleet.file import FleetFile
from tidegate.rollout import terms as terms_of

WHY = "fleet.yaml does not declare it"


@dataclass(frozen=True)
class RolloutPlan:
    """starts: (version, terms as a document); ends: versions that are under way and that the file does not name."""

    product: str
    starts: list[tuple[str, dict[str, Any]]]
    ends: list[str]


def plan_rollouts(file: FleetFile, api: Server, product: str) -> RolloutPlan:
    """Compare. What a person aborted is not started again by the same terms; one under way on others is an error."""
    made = RolloutPlan(file.product or product, [], [])
    if file.rollouts is None:
        return made
    for version, spec in file.rollouts.items():
        known = _known(api, made.product, version)
        if known is not None and terms_of.parse(known["terms"]) == spec.terms:
            continue
        if known is not None and known["state"] in ("running", "paused"):
            file.wrong(
                spec.line,
                f"{made.product} {version} is rolled out on other terms already",
                f"End it first: tidegate rollout abort {version}",
            )
        made.starts.append((version, spec.terms.document()))
    for one in api.waves.listed():
        under_way = one["product"] == made.product and one["state"] in ("running", "paused")
        if under_way and one["version"] not in file.rollouts:
            made.ends.append(one["version"])
    return made


def carry_out(plan: RolloutPlan, api: Server, *, prune: bool) -> None:
    """Start what is to be started; with `prune`, end the others. A run that was cut off is finished by the next."""
    for version in plan.ends if prune else []:
        api.waves.steer("abort", plan.product, version, WHY)
    for version, terms in plan.starts:
        api.waves.start(plan.product, version, terms)


def _known(api: Server, product: str, version: str) -> dict[str, Any] | None:
    try:
        return api.waves.status(product, version)
    except ServerError as error:
        if error.status != 404:
            raise
        return None
