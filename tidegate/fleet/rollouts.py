"""The rollouts in waves that fleet.yaml declares: which are to be started, and which it does not name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tidegate.client.server import Server
from tidegate.client.transport import ServerError
from tidegate.fleet.file import FleetFile
from tidegate.rollout import terms as terms_of

WHY = "fleet.yaml does not declare it"


@dataclass(frozen=True)
class RolloutPlan:
    """starts: (version, terms as a document); ends: versions that are under way and that the file does not name.

    slo: what the error budget is and shall be, or None if it stays.
    """

    product: str
    starts: list[tuple[str, dict[str, Any]]]
    ends: list[str]
    slo: tuple[str | None, str] | None = None

    @property
    def changes(self) -> bool:
        """Whether there is anything to change without --prune."""
        return bool(self.starts or self.slo)


def plan_rollouts(file: FleetFile, api: Server, product: str) -> RolloutPlan:
    """Compare. What a person aborted is not started again by the same terms; one under way on others is an error."""
    made = RolloutPlan(file.product or product, [], [], _slo(file, api, file.product or product))
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


def check_starts(plan: RolloutPlan, file: FleetFile, api: Server) -> None:
    """TidegateError, with its line, if one of them cannot be planned: before anything is changed."""
    for version, terms in plan.starts:
        try:
            api.waves.plan(plan.product, version, terms)
        except ServerError as error:
            if file.rollouts is None or not 400 <= error.status < 500:
                raise
            file.wrong(file.rollouts[version].line, error.message, error.remedy)


def carry_out(plan: RolloutPlan, api: Server, *, prune: bool) -> None:
    """Start what is to be started; with `prune`, end the others. A run that was cut off is finished by the next."""
    if plan.slo is not None:
        api.waves.set_budget(plan.product, plan.slo[1])
    for version in plan.ends if prune else []:
        api.waves.steer("abort", plan.product, version, WHY)
    for version, terms in plan.starts:
        api.waves.start(plan.product, version, terms)


def _slo(file: FleetFile, api: Server, product: str) -> tuple[str | None, str] | None:
    if file.slo is None:
        return None
    now = next((one["slo"] for one in api.waves.budgets() if one["product"] == product), None)
    return None if now == str(file.slo) else (now, str(file.slo))


def _known(api: Server, product: str, version: str) -> dict[str, Any] | None:
    try:
        return api.waves.status(product, version)
    except ServerError as error:
        if error.status != 404:
            raise
        return None
