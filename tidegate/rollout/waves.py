"""Waves: who is reached first. Each wave has those of the waves before it and more.

A percentage is a part of the range of `place`, a hash of rollout and device. So membership needs no list: it is the
same in a preview and afterwards, a larger percentage only adds devices, and a device that registers later has its wave.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from tidegate.errors import TidegateError
from tidegate.names import GROUP

PLACES = 1 << 32
MOST = 16
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)%\Z")
_COUNT = re.compile(r"[1-9][0-9]{0,6}\Z")
_REMEDY = "Write waves like 1%,10%,50%,100%, or 5,50,100%, or canary,10%,100%"


def place(key: str, device_id: str) -> int:
    """Where the device stands in the rollout `key`, from 0 to 2**32 - 1. The database computes the same."""
    return int.from_bytes(hashlib.sha256(f"{key}/{device_id}".encode()).digest()[:4], "big")


def key(product: str, sequence: int) -> str:
    """The key of all rollouts of one release: another release has other devices first."""
    return f"{product}/{sequence}"


@dataclass(frozen=True)
class Wave:
    """One wave: `percent` of the selected devices, at most `count` devices in all, or those of a `group`."""

    kind: Literal["percent", "count", "group"]
    percent: float = 0
    count: int = 0
    group: str = ""

    @property
    def bound(self) -> int:
        """For percent: who stands before this place is in it."""
        return round(PLACES * self.percent / 100)

    def __str__(self) -> str:
        if self.kind == "group":
            return self.group if not self.group.isdigit() else f"group:{self.group}"
        return f"{self.percent:g}%" if self.kind == "percent" else str(self.count)


def parse(text: str) -> tuple[Wave, ...]:
    """Waves from "canary,1%,50%,100%": groups, percentages and numbers of devices. Raises TidegateError."""
    waves = tuple(_one(part.strip()) for part in text.split(","))
    if len(waves) > MOST:
        raise TidegateError(f"these are {len(waves)} waves, and at most {MOST} are possible", "Name fewer")
    for kind in ("percent", "count"):
        sizes = [wave.percent if kind == "percent" else wave.count for wave in waves if wave.kind == kind]
        if any(later <= earlier for earlier, later in zip(sizes, sizes[1:], strict=False)):
            raise TidegateError(f"the waves {text} do not grow", _REMEDY)
    names = [wave.group for wave in waves if wave.kind == "group"]
    if len(set(names)) != len(names):
        raise TidegateError(f"the waves {text} name a group twice", _REMEDY)
    return waves


def _one(text: str) -> Wave:
    if found := _PERCENT.match(text):
        if 0 < float(found[1]) <= 100:
            return Wave("percent", percent=float(found[1]))
    elif _COUNT.match(text):
        return Wave("count", count=int(text))
    elif GROUP.fits(text.removeprefix("group:")) and (text.startswith("group:") or not text.isdigit()):
        return Wave("group", group=text.removeprefix("group:"))
    raise TidegateError(f"{text!r:.40} is not a wave", _REMEDY)
