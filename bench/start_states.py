#!/usr/bin/env python3
"""Learns the start states of codec 1 from released libraries and writes them where they are kept.

    python bench/start_states.py            learn and write tidegate/delta/start.py and the table in the format's page
    python bench/start_states.py --try      only say what they save on the training data and on the bench's pairs

The libraries of the bench are not learned from. A state's first probability and confidence are the pair that would
have coded its decisions shortest, over all patches together, each of which begins anew; confidence is kept low, so
that data of another kind loses little.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import corpus

from tidegate import delta
from tidegate.delta import adaptive, match, start
from tidegate.delta.rangecoder import SHIFTS, STEADY, Encoder

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "patch-format.md"
MODULE = ROOT / "tidegate" / "delta" / "start.py"
UNKNOWN = 16 << 3  # even chances, no confidence
CONFIDENCES = (0, 1, 2, 3, 4)
EARLY = 40  # decisions of a state in one patch that are looked at
MARGIN = 6.0  # bits that a start state must save in all of the training data

History = list[list[int]]  # the decisions of one state, patch by patch


class Recorder(Encoder):
    """An encoder that also keeps every state's decisions."""

    def __init__(self, states: list[int]):
        super().__init__(states)
        self.decisions: dict[int, list[int]] = {}

    def bit(self, index: int, bit: int) -> None:
        self.decisions.setdefault(index, []).append(bit)
        super().bit(index, bit)


def learn(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """One byte a state: 5 bits of probability, 3 of confidence."""
    histories: dict[int, History] = {}
    for old, new in pairs:
        recorder = Recorder(adaptive.start_states())
        adaptive.write(recorder, match.steps(old, new, match.triples(old, new)))
        for index, bits in recorder.decisions.items():
            histories.setdefault(index, []).append(bits[:EARLY])
    return bytes(_best(histories.get(index, [])) for index in range(adaptive.STATES))


def _best(history: History) -> int:
    total, ones = sum(map(len, history)), sum(map(sum, history))
    likely = int(32 * (total - ones + 0.5) / (total + 1))
    candidates = [
        level << 3 | confidence
        for level in range(max(0, likely - 8), min(32, likely + 9))
        for confidence in CONFIDENCES[1:]
    ]
    best = min(candidates, key=lambda byte: _cost(history, byte))
    return best if _cost(history, best) < _cost(history, UNKNOWN) - MARGIN else UNKNOWN


def _cost(history: History, byte: int) -> float:
    """Bits that a state beginning as `byte` takes for its decisions."""
    bits = 0.0
    for decisions in history:
        probability, count = (byte >> 3) * 128 + 64, byte & 7
        for bit in decisions:
            bits -= math.log2((4096 - probability if bit else probability) / 4096)
            shift = SHIFTS[count]
            probability += -(probability >> shift) if bit else (4096 - probability) >> shift
            count = min(count + 1, STEADY)
    return bits


def table(states: bytes) -> list[str]:
    """Rows of 30 states in hex."""
    return [states[at : at + 30].hex() for at in range(0, len(states), 30)]


def write(states: bytes) -> None:
    rows = table(states)
    code = "\n".join(f'    "{row}"' for row in rows)
    MODULE.write_text(
        '"""The states codec 1 begins with (docs/patch-format.md, "Start states"); written by '
        f'bench/start_states.py."""\n\nSTART_STATES = bytes.fromhex(\n{code}\n)\n'
    )
    page = PAGE.read_text()
    head, tail = page.index("<!-- start states -->"), page.index("<!-- end of start states -->")
    block = "<!-- start states -->\n\n```\n" + "\n".join(rows) + "\n```\n\n"
    PAGE.write_text(page[:head] + block + page[tail:])


def pairs(libraries: dict[str, str], relinked: bool) -> list[tuple[bytes, bytes]]:
    return [
        (step.relinked_old, step.relinked_new) if relinked else (step.old, step.new) for step in corpus.steps(libraries)
    ]


def total(found: list[tuple[bytes, bytes]], states: bytes) -> int:
    start.START_STATES = adaptive.START_STATES = states
    return sum(len(delta.make(old, new, [delta.ADAPTIVE])) for old, new in found)


def main() -> int:
    training = {kind: pairs(corpus.TRAINING, kind == "relinked") for kind in ("plain", "relinked")}
    states = learn(training["plain"] + training["relinked"])
    if "--try" not in sys.argv:
        write(states)
    even = bytes([UNKNOWN]) * adaptive.STATES
    for name, libraries in (("training", corpus.TRAINING), ("bench", corpus.LIBRARIES)):
        for kind in training:
            found = pairs(libraries, kind == "relinked")
            print(f"{name}, {kind}: {total(found, even)} B from even chances, {total(found, states)} B learned")
    return 0


if __name__ == "__main__":
    sys.exit(main())
