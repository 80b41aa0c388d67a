"""The gate of a rollout: a check outside, which each wave but the last waits for when it is through."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tidegate.errors import TidegateError
from tidegate.rollout import durations

TIMEOUT = "24h"
_WEBHOOK = "webhook:"
_NUMBER = re.compile(r"webhook:([1-9][0-9]{0,8})", re.ASCII)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)


@dataclass(frozen=True)
class Gate:
    """`name` for people; `webhook`: the number of the one that is sent what is to be checked, or None: all that hear of
    rollout.gate. Without an answer for `timeout_s` the rollout pauses."""

    name: str
    timeout_s: int
    webhook: int | None = None


def parse(text: str, timeout: str = TIMEOUT) -> Gate:
    """From "webhook:2" or a name like "ci". Raises TidegateError."""
    seconds = durations.parse(timeout, "gate_timeout")
    if not seconds:
        raise TidegateError("gate_timeout must be longer than nothing", "Write it like 4h")
    found = _NUMBER.fullmatch(text)
    if found is None and not _NAME.fullmatch(text):
        raise TidegateError(
            f"{text!r:.40} is not a gate", "Write webhook:2 (see: tidegate server webhook list), or a name like ci"
        )
    return Gate(text, seconds, int(found[1]) if found else None)
