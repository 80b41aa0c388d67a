"""How long the lab and the tests wait for what must come.

A limit ends what hangs; it does not measure the machine. So each is stated for a quiet machine, and stretched here, in
one place, for one where others work, too: the tests pass with four busy loops beside them on two cores. That costs
nothing while all goes well, because what is waited for is looked for all the time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

STRETCH = float(os.environ.get("TIDEGATE_STRETCH", "5"))

T = TypeVar("T")


def limit(quiet_s: float) -> float:
    """Seconds to wait at most for what takes less than `quiet_s` on a quiet machine."""
    return quiet_s * STRETCH


def until(what: str, check: Callable[[], T], quiet_s: float = 30, pause_s: float = 0.05) -> T:
    """The first true value of `check`; AssertionError with `what` and its last value when the time is up."""
    end = time.monotonic() + limit(quiet_s)
    while not (found := check()):
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come within {limit(quiet_s):.0f} s; last: {found!r:.500}")
        time.sleep(pause_s)
    return found
