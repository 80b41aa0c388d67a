"""An application that takes nearly all of the heap is still updated: by a start without it, once it is ready for that.

Ground: the emulated Cortex-M3 with its usual firmware, 128 KB of heap, broker inside the server.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from lab import Installation

from tidegate.errors import TidegateError

DEVICE = "gate-c"
LEFT = 16_000  # bytes of the heap that the application leaves; an update takes some 20 KB
BUSY_S = 40  # of each start, in which it must not be ended
GREEDY = f"""import gc
from gate import measurement, ready
from gate.clock import Uptime

print("the application is here")
uptime = Uptime()
ballast = []


@measurement("left", "B")
def left():
    gc.collect()
    if {{greedy}} and not ballast and uptime.seconds() > 5:
        while gc.mem_free() > {LEFT} + 2048:
            ballast.append(bytearray(2048))
    return gc.mem_free()


@ready
def stands_still():
    return uptime.seconds() > {BUSY_S}
"""
SHORTER = {
    "update/retry.py": {"_FIRST_S = const(60)": "_FIRST_S = const(8)"},
    "update/offer_run.py": {"retry.growing(_UNVERIFIED_S, 2 * self.cramped, _UNVERIFIED_MOST_S)": "8"},
    "update/offers.py": {"_CRAMPED_S << min(2 * self._cramped, 16)": "8"},
    "update/cramped.py": {"_UNVERIFIED_S = const(3600)": "_UNVERIFIED_S = const(30)"},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    with Installation(tmp_path_factory.mktemp("e2e") / "place") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        shorten_pauses(made.source)
        made.declare_image('[image]\nfeatures = ["mqtt", "http"]\n')
        yield made


def shorten_pauses(source: Path) -> None:
    for name, changes in SHORTER.items():
        path = source / "firmware/lib/gate" / name
        text = path.read_text()
        for before, after in changes.items():
            assert before in text, (name, before)
            text = text.replace(before, after)
        path.write_text(text)


def test_it_is_updated_without_its_application(place: Installation) -> None:
    place.put_application(GREEDY.format(greedy=True))
    place.build("1.0.0", 1)
    board = place.add_board(DEVICE)
    place.flash(board, DEVICE, "1.0.0")
    place.wait_running(DEVICE, "1.0.0", 60)
    place.wait("its heap to be full", lambda: heap_left(place) < LEFT + 3000, 60)

    place.put_application(GREEDY.format(greedy=False))
    place.build("1.1.0", 2, previous="1.0.0")
    began = len(board.lines)
    place.publish("1.1.0")
    place.wait_running(DEVICE, "1.1.0", 200)

    lines = board.lines[began:]
    asked = at(lines, "restart to bring it alone")
    assert sum("out of memory" in line for line in lines[:asked]) >= 2
    installed = at(lines, "sequence 2 installed")
    assert not any("the application is here" in line for line in lines[asked:installed])
    assert any("the application is here" in line for line in lines[installed:])
    place.wait("its confirmation", lambda: "confirmed" in told(place), 60)
    assert "brought without the application" in told(place)["installed"], told(place)


def told(place: Installation) -> dict[str, str]:
    """Phase and detail of each report."""
    return {report["phase"]: report.get("detail") or "" for report in place.reports(DEVICE)}


def at(lines: list[str], text: str) -> int:
    return next(number for number, line in enumerate(lines) if text in line)


def heap_left(place: Installation) -> float:
    try:
        found = place.api.records(DEVICE, "telemetry", 1)["telemetry"]
    except TidegateError:
        return 1e9
    return float(found[0]["value"]) if found else 1e9
