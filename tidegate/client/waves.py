"""The client's part for rollouts in waves, and for the labels they select by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tidegate.names import DEVICE, PRODUCT
from tidegate.rollout import subject

Call = Callable[..., Any]


class Waves:
    """Rollouts in waves of one server. `call` makes a request and checks the shape of its answer.

    `version` is what is rolled out (tidegate.rollout.subject): 1.4.0 for a release, maps@7 for data, trust@4.
    """

    def __init__(self, call: Call):
        self._call = call

    def listed(self) -> list[dict[str, Any]]:
        """The newest rollouts in waves, each with its one-line why."""
        found: list[dict[str, Any]] = self._call("GET", "/api/v1/waves", "ListedWaves")["rollouts"]
        return found

    def status(self, product: str, version: str) -> dict[str, Any]:
        """ServerError of status 404 if the release is not rolled out in waves."""
        found: dict[str, Any] = self._call("GET", _path(product, version), "Waves")
        return found

    def plan(self, product: str, version: str, terms: Mapping[str, Any]) -> dict[str, Any]:
        """Who would be in which wave, and what each would download."""
        found: dict[str, Any] = self._call("POST", f"{_path(product, version)}/plan", "WavesPlan", body=dict(terms))
        return found

    def start(self, product: str, version: str, terms: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._call("POST", f"{_path(product, version)}/start", "Waves", body=dict(terms))
        return found

    def steer(self, act: str, product: str, version: str, why: str | None, wave: int | None = None) -> dict[str, Any]:
        """`act`: pause, resume, abort or promote; `why` goes into the history; `wave`: promote only that one."""
        body = {"why": why, **({} if wave is None else {"wave": wave})}
        found: dict[str, Any] = self._call("POST", f"{_path(product, version)}/{act}", "Waves", body=body)
        return found

    def retry(self, product: str, version: str) -> dict[str, Any]:
        """Offer it once more where it failed; `retried` names the devices."""
        found: dict[str, Any] = self._call("POST", f"{_path(product, version)}/retry", "RetriedWaves")
        return found

    def budgets(self) -> list[dict[str, Any]]:
        """The error budgets of products; ServerError of status 404 from a server that knows none."""
        found: list[dict[str, Any]] = self._call("GET", "/api/v1/slo", "Budgets")["budgets"]
        return found

    def set_budget(self, product: str, slo: str | None) -> dict[str, Any] | None:
        """Set the error budget of a product, or take it away."""
        found = self._call("PUT", f"/api/v1/slo/{PRODUCT.check(product)}", "BudgetAnswer", body={"slo": slo})
        return None if found["budget"] is None else dict(found["budget"])

    def lift_budget(self, product: str, seconds: int, why: str) -> dict[str, Any] | None:
        """Let rollouts begin for so long although it is spent."""
        body = {"seconds": seconds, "why": why}
        found = self._call("POST", f"/api/v1/slo/{PRODUCT.check(product)}/lift", "BudgetAnswer", body=body)
        return None if found["budget"] is None else dict(found["budget"])

    def history(self, product: str, version: str) -> Iterator[dict[str, Any]]:
        """What happened to it, oldest first."""
        path, since = f"{_path(product, version)}/history", 0
        while page := self._call("GET", path, "WavesHistory", params={"since": since})["history"]:
            if page[-1]["id"] <= since:
                return
            since = page[-1]["id"]
            yield from page

    def devices(self, product: str, version: str, state: str | None = None) -> Iterator[dict[str, Any]]:
        """Its devices by id, or those in one state."""
        path, after = f"{_path(product, version)}/devices", ""
        words = {"state": state} if state else {}
        while page := self._call("GET", path, "WavesDevices", params={"after": after, **words})["devices"]:
            if page[-1]["id"] <= after:
                return
            after = page[-1]["id"]
            yield from page

    def labels(self, device: str) -> dict[str, Any]:
        found: dict[str, Any] = self._call("GET", f"/api/v1/devices/{DEVICE.check(device)}/labels", "Labels")
        return found

    def label(self, device: str, labels: Mapping[str, str | None]) -> dict[str, Any]:
        """Set labels of a device, and take away those that are None; all that it has then."""
        path, body = f"/api/v1/devices/{DEVICE.check(device)}/labels", {"labels": dict(labels)}
        found: dict[str, Any] = self._call("POST", path, "Labels", body=body)
        return found


def _path(product: str, version: str) -> str:
    return f"/api/v1/rollouts/{PRODUCT.check(product)}/{subject.parse(version)}/waves"
