"""The board's power is cut (kill -9 of the emulator) at random moments of one update, again and again.

After each cut it boots to a slot whose image is the one its boot record names; in the end the update is there.
"""

from __future__ import annotations

import os
import random
import time

import pytest
from lab import Installation
from shared_board import DEVICE

FULL = bool(os.environ.get("TIDEGATE_FULL"))
# How long after power-on the cuts come, at the speed of a real part: mostly before the switch, which takes about
# 5 s to reach, then some that fall into the trial too.
EARLY, LATE = (20, 6) if FULL else (7, 3)
SPREADS_S = [5.0] * EARLY + [9.0] * LATE
BALLAST = 60_000  # bytes that make the image larger, and its fetching, hashing and writing longer
BOOT_TIMEOUT_S = 60
BOOTED = r"tidegate: (slot [AB], sequence \d, verified|trial \d of \d of slot [AB], sequence \d|safe mode)"


@pytest.mark.soak
def test_an_update_survives_the_power_being_cut_again_and_again(place: Installation, record_property) -> None:
    seed = int(os.environ.get("TIDEGATE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    print(f"seed {seed} (TIDEGATE_SEED={seed} repeats the moments)")
    record_property("seed", seed)
    moments = random.Random(seed)
    board = place.boards[0]
    # The whole image, not a patch: more to fetch and to write, so more moments to be cut at.
    (place.application / "ballast.bin").write_bytes(moments.randbytes(BALLAST))
    place.build("1.1.1", 3)
    board.emulator.real_speed = True
    board.power_cut()
    place.publish("1.1.1")  # while the board is off: on a busy machine it is offered long before this returns
    mark = len(board.lines)
    board.power_on()
    board.wait_line(BOOTED, BOOT_TIMEOUT_S, mark)
    booted = []
    for spread in SPREADS_S:
        time.sleep(moments.uniform(0, spread))
        board.power_cut()
        mark = len(board.lines)
        board.power_on()
        found = board.wait_line(BOOTED, BOOT_TIMEOUT_S, mark)
        assert found[1] != "safe mode", board.lines[mark:]
        booted.append(found[0])
    print("\n".join(booted))
    shown = place.wait_running(DEVICE, "1.1.1", 120)
    assert shown["sequence"] == 3
    assert shown["digest"] == place.index("1.1.1")["image"]["digest"]
    slots = board.slots()
    assert slots["floor"] == 3 and slots["trial"] is None
    running = slots["slots"][slots["running"]]
    assert running["whole"] and running["digest"] == place.index("1.1.1")["image"]["digest"]
    early = [boot for boot in booted if "sequence 1," in boot]
    assert len(early) >= EARLY // 4, "too few cuts came before the new image was installed"
