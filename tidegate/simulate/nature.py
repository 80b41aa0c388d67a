"""What one simulated board is like, chosen by the seed: the same seed makes the same boards misbehave alike."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tidegate.simulate.conditions import Conditions
from tidegate.simulate.scenario import Scenario

GOOD = "good"


@dataclass(frozen=True)
class Nature:
    """fault: "good" or a key of [misbehaving]; interrupted: whether its first download is cut off in the middle."""

    fault: str
    interrupted: bool
    seed: str

    def random(self, what: str) -> random.Random:
        """Its dice for one purpose, the same in every run."""
        return random.Random(f"{self.seed} {what}")


def of(scenario: Scenario, device: str) -> Nature:
    """The nature of the device with this id."""
    seed = f"{scenario.seed} {device}"
    dice = random.Random(seed)
    left, fault = dice.random(), GOOD
    for name, fraction in scenario.misbehaving.model_dump().items():
        left -= fraction
        if left < 0:
            fault = name
            break
    return Nature(fault, dice.random() < scenario.update.interrupted, seed)


def conditions(scenario: Scenario, nature: Nature) -> Conditions | None:
    """Those of its link, if that is a bad one."""
    if nature.fault != "bad_link":
        return None
    bad = scenario.bad_link
    return Conditions(bad.latency_ms / 1000, bad.jitter_ms / 1000, bad.loss, nature.random("link"))
