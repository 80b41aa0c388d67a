"""An update on the Pico, by itself: the application of release 1 installs another from a file, as often as it takes.

From power-on the board goes on with it wherever it was: release 2 is installed, tried and confirmed; release 3 raises
in each of its trials and is rolled back. So whatever power cuts do, the board must come to the job's end, and a cut is
made of the bytes that the flash driver was about to write, without emulating anything again.
"""

from __future__ import annotations

import random
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pico import SEGMENT, STORAGE, Pico, PicoError

from tidegate import boards
from tidegate.flash import loader_files
from tidegate.image.build import compile_source, pack

ROOT = Path(__file__).resolve().parents[3]
FIRMWARE = ROOT / "build" / "rpi_pico" / "firmware.uf2"
BALLAST = 9000  # bytes of each image that nothing reads: three blocks, and most programs of a job
_SLOT = (1040 * 1024 // 4096 - 2) // 2 * 4096

GOOD, BAD = 2, 3
ENDS = {GOOD: "end: release 2, sequence 2, outcome confirmed", BAD: "end: release 1, sequence 1, outcome rolled-back"}

_APPLICATION = """
import hashlib
RELEASE = const(%d)

def start(boot):
    print("app: release %%d, slot %%s, trial %%s" %% (RELEASE, boot.slot, boot.trial))
    if RELEASE == 3:
        raise ValueError("a bad release")
    if boot.trial:
        boot.confirm()
        print("app: confirmed")
    with open("/tg/new.img", "rb") as file:
        data = file.read()
    digest = hashlib.sha256(data).digest()
    if RELEASE == 1 and not boot.is_bad(digest):
        writer = boot.slot_writer(len(data))
        writer.write(data)
        writer.finish(digest)
        boot.arm_trial(len(data), digest, 2)
        print("app: armed")
        boot.reset()
    outcome = boot.outcome
    said = outcome and ("confirmed" if outcome.confirmed else "rolled-back")
    print("end: release %%d, sequence %%d, outcome %%s" %% (RELEASE, boot.running.sequence, said))
"""

# The board's record and slot A as flashing leaves them, and the file with the release that is to come.
_PREPARE = """
import hashlib, os, vfs
view = memoryview(vfs.rom_ioctl(2, 0))
for name in ("/boot", "/tg"):
    os.mkdir(name)
for path, at, size in PLACES:
    with open(path, "wb") as file:
        file.write(view[at : at + size])
    with open(path, "rb") as file:
        if file.read() != view[at : at + size]:
            raise OSError("%s arrived differently" % path)
from boot import record, storage
from boot.board import Board
board = Board()
data = view[FIRST[0] : FIRST[0] + FIRST[1]]
slots = storage.open_slots(board, "rom")
writer = slots.writer(0, len(data), lambda: None)
writer.write(data)
digest = hashlib.sha256(data).digest()
writer.finish(digest)
state = record.Record()
state.running = 0
state.floor = 1
state.slots[0] = record.Slot(record.GOOD, len(data), 1, digest)
record.Store(slots).save(state)
print(board.slots, board.rom_size(), slots.capacity)
"""


def image(release: int) -> bytes:
    """A ROMFS with the application of one release."""
    board = boards.load(ROOT, "rpi_pico")
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "app.py"
        source.write_text("from micropython import const\n" + _APPLICATION % release)
        compiled = compile_source(source, "app.py", board, Path(scratch))
    return pack({"app.mpy": compiled, "ballast": random.Random(release).randbytes(BALLAST)})


def prepared(release: int, firmware: Path = FIRMWARE) -> bytes:
    """The flash of a board that runs release 1 and is to install `release`.

    Files come by way of the empty second slot, which is written from here, because the console would take longer than
    all that follows; the board itself makes files, slot and record of them, by its own driver.
    """
    board = Pico(firmware)
    board.run(">>> ")
    loader = loader_files.loader(ROOT, boards.load(ROOT, "rpi_pico"), signature=False)
    places, at = [], STORAGE - _SLOT
    files = {"": image(1), "/tg/new.img": image(release), **loader}
    for path, data in files.items():  # with /main.py last, as in flashing
        board.flash[at : at + len(data)] = data
        places.append((path, at - SEGMENT, len(data)))
        at += len(data)
    said = board.execute(f"FIRST = {places[0][1:]!r}\nPLACES = {places[1:]!r}\n{_PREPARE}", 60)
    if said.split() != ["rom", str(STORAGE - SEGMENT), str(_SLOT)]:
        raise PicoError(f"the board has other slots: {said}")
    board.flash[STORAGE - _SLOT : STORAGE] = b"\xff" * _SLOT
    return bytes(board.flash)


@dataclass(frozen=True)
class Step:
    """A program or an erase that the driver issued: where, and the bytes there once it is done.

    confirmed: whether the new release had said that it is confirmed before.
    """

    kind: str
    at: int
    after: bytes
    confirmed: bool


def steps(flash: bytes, release: int, firmware: Path = FIRMWARE) -> tuple[list[Step], str]:
    """All steps of the job from this flash to its end, and what the console said."""
    found: list[Step] = []
    board = Pico(firmware, flash)
    board.watch = lambda _, kind, at, after: found.append(Step(kind, at, after, "app: confirmed" in board.said))
    finish(board, release)
    return found, board.said


def finish(board: Pico, release: int) -> None:
    """Runs the board to the job's end. Raises PicoError."""
    board.run(re.escape(ENDS[release]) + r"[\s\S]*the application ended", 60)
