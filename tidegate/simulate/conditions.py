"""What a bad link does to a board: delay, loss, and connections that break."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_AGAIN_S = 0.3  # until a lost segment is sent again, twice as long each time
_MOST_AGAIN = 5
_APART_S = 1e-6  # what is due at the same time may be called in any order


@dataclass
class Way:
    """One direction of a link; bytes that were sent first arrive first."""

    free_at: float = 0.0


class Conditions:
    """Of one bad link. latency_s, jitter_s: one way; loss: fraction of segments that have to be sent again."""

    def __init__(self, latency_s: float, jitter_s: float, loss: float, rng: random.Random) -> None:
        self.up, self.down = Way(), Way()
        self._latency_s = latency_s
        self._jitter_s = jitter_s
        self._loss = loss
        self._rng = rng

    def delay(self) -> float:
        """Seconds until a segment that is sent now arrives."""
        took = self._latency_s + self._jitter_s * self._rng.random()
        for again in range(_MOST_AGAIN):
            if self._rng.random() >= self._loss:
                break
            took += _AGAIN_S * 2**again
        return took

    def after(self, way: Way, call: Callable[..., object], *arguments: Any) -> None:
        """Call it when what is sent now has arrived."""
        loop = asyncio.get_running_loop()
        way.free_at = max(way.free_at + _APART_S, loop.time() + self.delay())
        loop.call_at(way.free_at, call, *arguments)
