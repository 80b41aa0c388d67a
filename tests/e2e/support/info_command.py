"""The signed command `info`, as a person sends it."""

from __future__ import annotations

import json
from typing import Any

from lab import Installation


def ask(place: Installation, device: str) -> dict[str, Any]:
    """The command at its end, as the server tells it."""
    words = ("cmd", "send", device, "info", "--key", place.key("command"), "--wait", "60", "--json")
    return dict(json.loads(place.tidegate(*words)))


def answer(place: Installation, device: str) -> dict[str, Any]:
    """What the device says of itself."""
    told = ask(place, device)
    assert told["outcome"] == "done", told
    return dict(told["result"]["answer"])
