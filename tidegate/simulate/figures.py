"""What a run counts and measures: counters, gauges, errors by kind, and times as histograms that can be added up."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

_STEP = math.log(1.04)  # of a bucket: what is read from a histogram is right within 3 %
_LEAST = 1e-5  # s


class Times:
    """A histogram of durations in seconds."""

    def __init__(self, buckets: Mapping[int, int] | None = None, most: float = 0.0) -> None:
        self.buckets: Counter[int] = Counter(buckets or {})
        self.most = most

    def add(self, seconds: float) -> None:
        self.buckets[round(math.log(max(seconds, _LEAST) / _LEAST) / _STEP)] += 1
        self.most = max(self.most, seconds)

    def join(self, other: Times) -> None:
        self.buckets.update(other.buckets)
        self.most = max(self.most, other.most)

    @property
    def count(self) -> int:
        return self.buckets.total()

    def at(self, fraction: float) -> float | None:
        """The time that this fraction of all took at most; None if there is none."""
        left = fraction * self.count
        for bucket in sorted(self.buckets):
            left -= self.buckets[bucket]
            if left <= 0:
                longest = bucket == max(self.buckets)
                return self.most if longest else min(_LEAST * math.exp(bucket * _STEP), self.most)
        return None

    def summary(self) -> dict[str, Any]:
        """In milliseconds: p50, p90, p99 and the longest."""
        if not self.count:
            return {"count": 0}
        found = {f"p{round(100 * f)}_ms": 1000 * (self.at(f) or 0) for f in (0.5, 0.9, 0.99)}
        return {"count": self.count, **{k: round(v, 1) for k, v in found.items()}, "max_ms": round(1000 * self.most, 1)}


class Figures:
    """counts rise only; gauges are what is true now; errors: how often, by kind."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.gauges: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.times: dict[str, Times] = {}

    def took(self, what: str, seconds: float) -> None:
        self.times.setdefault(what, Times()).add(seconds)

    def join(self, other: Figures) -> None:
        for mine, theirs in ((self.counts, other.counts), (self.gauges, other.gauges), (self.errors, other.errors)):
            mine.update(theirs)
        for what, times in other.times.items():
            self.times.setdefault(what, Times()).join(times)

    def since(self, before: Figures) -> Figures:
        """What came after `before`, which is an older copy of these. The longest times stay those of all."""
        found = Figures()
        found.counts = self.counts - before.counts
        found.errors = self.errors - before.errors
        found.gauges = Counter(self.gauges)
        for what, times in self.times.items():
            old = before.times.get(what, Times())
            found.times[what] = Times(times.buckets - old.buckets, times.most)
        return found

    def plain(self) -> dict[str, Any]:
        """As what travels from one process to another."""
        times = {what: (dict(one.buckets), one.most) for what, one in self.times.items()}
        return {"counts": dict(self.counts), "gauges": dict(self.gauges), "errors": dict(self.errors), "times": times}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Figures:
        found = cls()
        found.counts.update(plain["counts"])
        found.gauges.update(plain["gauges"])
        found.errors.update(plain["errors"])
        found.times = {what: Times(*one) for what, one in plain["times"].items()}
        return found


def total(parts: Iterable[Mapping[str, Any]]) -> Figures:
    """The sum of what several processes said (`plain`)."""
    found = Figures()
    for part in parts:
        found.join(Figures.of(part))
    return found
