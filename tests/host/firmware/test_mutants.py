"""The power-cut suite is held against code that is broken on purpose: each mutant of firmware/boot must be noticed.

A test that has never failed proves little. Each mutant drops or swaps one step on which "always bootable" rests, in a
copy of the firmware, and the device tests named beside it must fail on it, as they must pass on the copy without it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT_S = 240


@dataclass(frozen=True)
class Mutant:
    """name: what is broken; path in firmware/boot; old and new text; the script that must notice, with what slots."""

    name: str
    path: str
    old: str
    new: str
    script: str
    kind: str = "rom"


MUTANTS = (
    Mutant(
        "the record is saved over its newest copy",
        "record.py",
        "copy = 1 - self._newest",
        "copy = self._newest",
        "gate/update/test_power_cuts",
    ),
    Mutant(
        "the record is not read back",
        "record.py",
        "if self._slots.read_record(copy, _SIZE) == data:",
        "if True:",
        "boot/test_record",
    ),
    Mutant(
        "the record's CRC is not compared",
        "record.py",
        ' or struct.unpack("<I", data[-4:])[0] != crc32(data[:-4])',
        "",
        "boot/test_record",
    ),
    Mutant(
        "the older copy of the record counts",
        "record.py",
        "record.counter > found.counter",
        "record.counter < found.counter",
        "boot/test_record",
    ),
    Mutant(
        "the sequence floor follows down",
        "record.py",
        "self.floor = max(self.floor, slot.sequence)",
        "self.floor = 0",
        "gate/update/test_power_cuts",
    ),
    Mutant(
        "the header is written first",
        "romslots.py",
        "            self._first[:] = self._page\n",
        "            self._first[:] = self._page\n            self._board.rom_write(self._start, self._page)\n",
        "boot/test_loader",
    ),
    Mutant(
        "the slot is not read back before its header",
        "romslots.py",
        "        self._check(slots.digest(self._image, self._feed, self._first) == digest)\n",
        "",
        "boot/test_loader",
    ),
    Mutant(
        "a block is not erased",
        "romslots.py",
        "        self._board.rom_erase(self._start + self._erased, self._board.BLOCK)\n",
        "",
        "gate/update/test_power_cuts",
    ),
    Mutant(
        "the file has its name from the start",
        "fileslots.py",
        'self._new = self._path + ".new"',
        "self._new = self._path",
        "boot/test_loader",
        "file",
    ),
    Mutant(
        "the file is not read back",
        "fileslots.py",
        "if digest_of(self._new, self._size, self._feed) != digest:",
        "if False:",
        "boot/test_loader",
        "file",
    ),
    Mutant(
        "the slot's name is not made durable before the record tells of it",
        "fileslots.py",
        '        self._board.sync(self._path[: self._path.rfind("/")])\n',
        "",
        "boot/test_loader",
        "file",
    ),
    Mutant(
        "the slot's digest is not compared",
        "verify.py",
        "if image.digest(self._feed) != slot.digest:",
        "if False:",
        "boot/test_loader",
    ),
    Mutant(
        "the trial's attempt is not counted",
        "select.py",
        "        state.attempts += 1\n",
        "",
        "boot/test_loader",
    ),
    Mutant(
        "the attempt is counted, but not before it runs",
        "select.py",
        "        if not self._saved():\n",
        "        if False:\n",
        "boot/test_loader",
    ),
    Mutant(
        "the way back may be written during a trial",
        "changes.py",
        "if record.running != self._boot._index:",
        "if False:",
        "boot/test_loader",
    ),
    Mutant(
        "the slot that somebody asked to go back to may be written",
        "changes.py",
        "if record.running != self._boot._index:",
        "if False:",
        "boot/test_rollback",
    ),
    Mutant(
        "the slot is given up only after it was written",
        "changes.py",
        "            other.state = EMPTY\n            store.save(record)\n",
        "",
        "boot/test_loader",
    ),
    Mutant(
        "the manifest is kept after the switch",
        "changes.py",
        "        manifests.store(self._boot.board, other, manifest)\n",
        "",
        "gate/update/test_power_cuts",
        "file",
    ),
    Mutant(
        "a manifest for another image vouches",
        "signature.py",
        "if found.sequence != slot.sequence or not target.matched:",
        "if False:",
        "boot/test_signature",
    ),
    Mutant(
        "options that cannot be read are defaults",
        "options.py",
        "        found = None\n",
        "        found = {}\n",
        "boot/test_signature",
    ),
)


def firmware(folder: Path) -> Path:
    """A copy of what device scripts need."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "firmware" / "boot", folder / "firmware" / "boot", ignore=ignored)
    shutil.copytree(ROOT / "tests" / "device", folder / "tests" / "device", ignore=ignored)
    (folder / "firmware" / "lib").symlink_to(ROOT / "firmware" / "lib")
    (folder / "tests" / "vectors").symlink_to(ROOT / "tests" / "vectors")
    return folder


def failure(folder: Path, script: str, kind: str) -> str | None:
    """The first failure of the device script on the firmware in `folder`, where it is stopped; None if it passes."""
    runner = folder / "tests" / "device" / "support" / "run.py"
    command = [sys.executable, "-u", str(runner), script, "cpython", f"slots={kind}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        watchdog = threading.Timer(TIMEOUT_S, process.kill)
        watchdog.start()
        try:
            for line in process.stdout:
                if line.startswith("FAIL "):
                    return line
            code = process.wait()
        finally:
            watchdog.cancel()
            process.kill()
        # A script that the mutant ends, or never lets end, has noticed it as well.
        return f"exit code {code}" if code else None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_the_device_tests_notice(tmp_path: Path, mutant: Mutant) -> None:
    place = firmware(tmp_path)
    path = place / "firmware" / "boot" / mutant.path
    text = path.read_text()
    assert text.count(mutant.old) == 1, f"{mutant.path} no longer has {mutant.old!r} once: adapt the mutant"
    path.write_text(text.replace(mutant.old, mutant.new))
    assert failure(place, mutant.script, mutant.kind), f"nobody noticed that {mutant.name}"


@pytest.mark.parametrize("kind", ["rom", "file"])
def test_and_pass_on_a_copy_without_a_mutant(tmp_path: Path, kind: str) -> None:
    assert failure(firmware(tmp_path), "boot/test_loader", kind) is None
