"""A Raspberry Pi Pico with the MicroPython that boards/rpi_pico builds, on an emulated RP2040: slots in its ROM
segment, executed in place; an update, a trial, a rollback; and the power cut at what its flash driver does.

`make boards` runs it. tests/stock/cuts.py cuts thousands of times; the share here is a cut of each shape.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
from pathlib import Path

import pytest
from patience import limit

pytest.importorskip("rp2040py", reason="`make boards` installs the emulator of the RP2040")

import cuts
import pico_job
from pico import SEGMENT, STORAGE, Pico
from pico_job import BAD, GOOD, ROOT

BUILD_S = 1500  # of the firmware, from nothing
CUTS = (  # release, share of the job, shape of an erase, shape of a program: whichever is next from there
    (GOOD, 0.0, "before", "program-low"),
    (GOOD, 0.3, "erase-late", "program-partial"),
    (GOOD, 0.9, "erase-early", "program-high"),
    (BAD, 0.6, "erase-half", "after"),
    (BAD, 0.95, "erase-partial", "program-partial"),
)


pytestmark = pytest.mark.usefixtures("firmware")


def test_it_has_a_rom_segment_and_the_means_to_run_it_in_place(firmware: Path) -> None:
    board = Pico(firmware)
    board.run(">>> ")
    said = board.execute(
        "import os, vfs\n"
        "flash = vfs.rom_ioctl(2, 0)\n"
        "print(hasattr(vfs, 'VfsRom'), vfs.rom_ioctl(1), len(memoryview(flash)), os.statvfs('/')[2] * 4096)\n"
        "flash.ioctl(6, 3)\n"
        "flash.writeblocks(3, b'mark' * 64, 256)\n"
        "print(bytes(memoryview(flash)[3 * 4096 + 252:3 * 4096 + 260]))\n"
    )
    assert said.splitlines() == ["True 1 1064960 376832", "b'\\xff\\xff\\xff\\xffmark'"]
    assert board.flash[SEGMENT + 3 * 4096 + 256 :][:4] == b"mark"


@pytest.mark.parametrize("release", (GOOD, BAD))
def test_a_release_is_installed_tried_and_kept_or_rolled_back(release: int) -> None:
    one = cuts.job(release)
    assert pico_job.ENDS[release] in one.said
    assert "trial 1 of 3 of slot B" in one.said
    assert ("trial 3 of 3 of slot B" in one.said) == (release == BAD)
    assert {step.kind for step in one.steps if SEGMENT <= step.at < STORAGE} == {"erase", "program"}


@pytest.mark.parametrize(("release", "share", "erase", "program"), CUTS)
def test_it_comes_to_the_end_whatever_is_cut(release: int, share: float, erase: str, program: str) -> None:
    one = cuts.job(release)
    index = int(share * len(one.steps))
    step = one.steps[index]
    chance = random.Random(index)
    flash = cuts.cut(one, index, erase if step.kind == "erase" else program, chance)
    cuts.recover(one, flash, step.confirmed, chance, again=False)


def test_a_board_that_forgets_what_it_confirmed_is_noticed() -> None:
    """The judge can fail: the flash from before the job, after a confirmation."""
    one = cuts.job(GOOD)
    with pytest.raises(AssertionError, match="app: release 1"):
        cuts.recover(one, bytearray(one.flash), True, random.Random(0), again=False)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ("firmware", "frozen_firmware"))
def test_the_same_sources_give_the_same_bytes(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """In another folder, too."""
    first: Path = request.getfixturevalue(kind)
    command = ["make", "-C", ROOT / "boards" / "rpi_pico", f"BUILD={tmp_path / 'again'}", f"-j{os.cpu_count() or 1}"]
    command += ["FROZEN=1"] if kind == "frozen_firmware" else []
    subprocess.run(command, check=True, capture_output=True, timeout=limit(BUILD_S))
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, tmp_path / "again" / first.name)}
    assert len(digests) == 1
