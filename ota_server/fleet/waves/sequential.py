"""A test that may be looked at after each comparison: is the updated device the worse one too often?

Two devices that a hash chose differ by chance, so without harm either is the worse with probability 1/2. The evidence
is what somebody would have who began with 1 and bet on "worse" each time at fair odds, spread over all probabilities
from 1/2 to 1. By Ville's inequality it ever reaches e with probability 1/e at most, however often one looks.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import comb, exp, log
from typing import NamedTuple

_DULL = 4.0  # evidence that stops no rollout, whatever error is allowed


class Evidence(NamedTuple):
    """Of `pairs` that were not even, in `worse` the updated device did worse; `most` is the highest evidence so far."""

    pairs: int
    worse: int
    most: float


def evidence(worse: int, pairs: int) -> float:
    """Twice the integral of (2p)^worse (2(1 - p))^(pairs - worse) over p from 1/2 to 1, which is a sum of binomials."""
    return sum(comb(pairs + 1, i) for i in range(worse + 1)) / ((pairs + 1) * comb(pairs, worse))


class Bets:
    """The evidence as it comes in, which may be looked at after each loss."""

    def __init__(self) -> None:
        self._pairs = self._worse = 0
        self._most = 1.0

    def add(self, loss: int) -> None:
        """loss: 1 worse, -1 better, 0 even."""
        if not loss:
            return
        self._pairs += 1
        self._worse += loss > 0
        # It grows only by a loss, and is never above that of the best single bet, which is quicker to see.
        if loss > 0 and _best_bet(self._worse, self._pairs) > max(self._most, _DULL):
            self._most = max(self._most, evidence(self._worse, self._pairs))

    def evidence(self) -> Evidence:
        return Evidence(self._pairs, self._worse, max(self._most, evidence(self._worse, self._pairs)))


def over(losses: Iterable[int]) -> Evidence:
    """The evidence of losses in the order in which they were found."""
    bets = Bets()
    for loss in losses:
        bets.add(loss)
    return bets.evidence()


def _best_bet(worse: int, pairs: int) -> float:
    part = max(0.5, worse / pairs)
    better = (pairs - worse) * log(2 * (1 - part)) if worse < pairs else 0.0
    return exp(min(700.0, worse * log(2 * part) + better))
