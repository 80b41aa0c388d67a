# ruff: noqa: E402, B905 - runs on MicroPython; the tests are found only when their folders are on the path
"""The board's half of bench/wear.py: real updates on the simulated board, its erases counted, as one JSON line."""

import json
import sys

ROOT = sys.argv[1]
KIND = sys.argv[2]
for folder in ("/tests/device/support", "/firmware", "/firmware/lib"):
    sys.path.insert(0, ROOT + folder)

import check

check.place(ROOT, "unix", {"slots": KIND})

import sim_files
from boot import storage
from sim_board import BLOCK
from sim_gateway import World, envelope

UPDATES = (("patch", 2), ("next-patch", 3), ("no-patch-fits", 4))


def erases(world):
    """(erases a block of the ROM segment, erases a block of the file system) so far."""
    return list(world.board.worn), list(world.files.worn)


world = World()
world.flash(1)
found = []
for name, sequence in UPDATES:
    before = erases(world)
    world.offer = envelope(name)
    world.run(6, sequence)
    world.idle(60)
    after = erases(world)
    rom, files = [[new - old for new, old in zip(*pair)] for pair in zip(after, before)]
    status = world.slots()
    size = status["slots"][status["running"]]["size"]
    found.append({"update": name, "slot": status["running"], "size": size, "rom": rom, "files": files})
capacity = storage.open_slots(world.board, world.board.slots).capacity
print(json.dumps({"kind": KIND, "block": BLOCK, "capacity": capacity, "file_block": sim_files.BLOCK, "updates": found}))
