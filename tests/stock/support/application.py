"""The application of the tests that flash a Pico: small, and it says how much of the heap is left."""

from __future__ import annotations

import re

from lab.pico_w import LabPicoW

_SOURCE = """
import gc

from gate import measurement

RELEASE = "{release}"


@measurement("free", "B")
def free():
    gc.collect()
    found = gc.mem_free()
    print("heap:", found, "free,", gc.mem_alloc(), "in use,", RELEASE)
    return found
"""
_IMAGE = """[product]
name = "tidegate-gateway"
vendor = "tidegate.example"

[image]
features = [{features}]
"""
_HEAP = re.compile(r"heap: (\d+) free, (\d+) in use")


def source(release: str) -> str:
    return _SOURCE.format(release=release)


def image(*features: str) -> str:
    """The table [image] of tidegate.toml."""
    return _IMAGE.format(features=", ".join(f'"{feature}"' for feature in features))


def heap(lines: list[str]) -> tuple[int, int]:
    """Bytes of the heap that are free, and in use, as it said last."""
    found = [match for line in lines if (match := _HEAP.search(line))]
    return int(found[-1][1]), int(found[-1][2])


def wait_heap(board: LabPicoW, within_s: float) -> tuple[int, int]:
    """The same, once it has said so."""
    board.wait_line(_HEAP.pattern, within_s)
    return heap(board.lines)
