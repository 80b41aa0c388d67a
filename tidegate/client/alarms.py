"""The client's part for alarms: which there are, who has seen them, which call nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tidegate.names import DEVICE

Call = Callable[..., Any]

_PATH = "/api/v1/alarms"


class Alarms:
    """Alarms of one server. `call` makes a request and checks the shape of its answer."""

    def __init__(self, call: Call):
        self._call = call

    def listed(self, limit: int, device: str | None = None, **only: Any) -> dict[str, Any]:
        """Newest first. `only`: kind, state (open, acknowledged, calling), before (an id); None: all.

        `since` in it, an id, has what came after that, oldest first. device: only those of one, by its id or name.
        """
        params = {"limit": limit, **{name: value for name, value in only.items() if value is not None}}
        path = _PATH if device is None else f"/api/v1/devices/{DEVICE.check(device)}/alarms"
        found: dict[str, Any] = self._call("GET", path, "Alarms", params=params)
        return found

    def acknowledge(self, numbers: Sequence[int], note: str | None) -> list[int]:
        """Those of these alarms that nobody had acknowledged before."""
        body = {"alarms": list(numbers), "note": note}
        found: list[int] = self._call("POST", f"{_PATH}/acknowledge", "Acknowledged", body=body)["acknowledged"]
        return found

    def mutes(self) -> list[dict[str, Any]]:
        """Those in force, the one that ends first first."""
        found: list[dict[str, Any]] = self._call("GET", f"{_PATH}/mutes", "AlarmMutes")["mutes"]
        return found

    def mute(self, kind: str, device: str | None, seconds: int, why: str | None) -> dict[str, Any]:
        """`device`: its id or name, None for all."""
        body = {"kind": kind, "device": device, "seconds": seconds, "why": why}
        found: dict[str, Any] = self._call("POST", f"{_PATH}/mutes", "AlarmMute", body=body)
        return found

    def unmute(self, number: int) -> dict[str, Any]:
        """End it now; ServerError of status 404 if it is not in force."""
        found: dict[str, Any] = self._call("DELETE", f"{_PATH}/mutes/{number}", "AlarmMute")
        return found
