"""The application of the tests that flash a Pico: small, and it says how much of the heap is left."""

from __future__ import annotations

import re

from lab.console import RecordedConsole

_SOURCE = """
import gc
import time

from gate import measurement

RELEASE = "{release}"
HANGS = {hangs}


@measurement("free", "B")
def free():
    while HANGS:
        time.sleep_ms(100)
    gc.collect()
    found = gc.mem_free()
    print("heap:", found, "free,", gc.mem_alloc(), "in use,", time.ticks_ms(), "ms after the start,", RELEASE)
    return found
"""
_IMAGE = """[product]
name = "tidegate-gateway"
vendor = "tidegate.example"

[image]
features = [{features}]
"""
_HEAP = r"heap: (\d+) free, (\d+) in use"


def source(release: str, hangs: bool = False) -> str:
    """hangs: it waits for ever when it is asked for its measurement, as for a sensor that does not answer."""
    return _SOURCE.format(release=release, hangs=hangs)


def image(*features: str) -> str:
    """The table [image] of tidegate.toml."""
    return _IMAGE.format(features=", ".join(f'"{feature}"' for feature in features))


def wait_heap(console: RecordedConsole, within_s: float) -> tuple[int, int]:
    """Bytes of the heap that are free, and in use, as it said last, once it has said so."""
    console.wait_line(_HEAP, within_s)
    return heaps(console.lines)[-1]


def heaps(lines: list[str]) -> list[tuple[int, int]]:
    """All that these lines say of it."""
    return [(int(free), int(used)) for free, used in re.findall(_HEAP, "\n".join(lines))]
