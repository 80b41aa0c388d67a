"""A small share of `make survival`, the bugs that each kind must notice, and the torn flash beside others'."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torn_flash
from patience import limit

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "tests/survival/run.py"
KINDS = ("cut", "torn cut", "cuts in recovery", "bit flips at rest", "read errors", "worn blocks", "everything")
SEED = 7


def survive(*given: str, root: Path = ROOT) -> tuple[int, dict]:
    command = [sys.executable, str(RUN), "--json", "--jobs", "1", "--root", str(root), *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit(300))
    assert done.returncode in (0, 1), done.stderr[-2000:]
    return done.returncode, json.loads(done.stdout)


def test_some_hundred_runs_of_all_kinds() -> None:
    code, found = survive("--runs", "400", "--seed", str(SEED))
    assert (code, found["bricked"]) == (0, 0), found["which"]
    assert found["runs"] == 400 and set(found["kinds"]) == set(KINDS)
    for kind, one in found["kinds"].items():
        assert one["runs"] >= 20 and one["happened"], f"nothing happened to boards under {kind!r}"
    assert found["kinds"]["bit flips at rest"]["ends"]["safe mode"], "no board was beyond help: what was judged?"


@dataclass(frozen=True)
class Mutant:
    """A bug planted in firmware/boot, and the kinds of trouble that must notice it."""

    name: str
    path: str
    old: str
    new: str
    kinds: tuple[str, ...]


MUTANTS = (
    Mutant(
        "the record is saved over its newest copy",
        "record.py",
        "copy = 1 - self._newest",
        "copy = self._newest",
        ("cut", "torn cut", "cuts in recovery"),
    ),
    Mutant(
        "the slot's digest is not compared",
        "verify.py",
        "if image.digest(self._feed) != slot.digest:",
        "if False:",
        ("bit flips at rest", "everything"),
    ),
    Mutant(
        "what was read wrong once is given up",
        "select.py",
        'say("slot %s: %s; reading it again", NAMES[index], error)',
        "raise",
        ("read errors",),
    ),
    Mutant(
        "a record that cannot be stored ends the boot",
        "select.py",
        '            say("the boot record cannot be stored: %s", error)\n            return False\n',
        "            raise\n",
        ("worn blocks",),
    ),
)


@pytest.mark.parametrize(
    ("mutant", "kind"),
    [pytest.param(mutant, kind, id=f"{kind}: {mutant.name}") for mutant in MUTANTS for kind in mutant.kinds],
)
def test_a_planted_bug_is_noticed(tmp_path: Path, mutant: Mutant, kind: str) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "firmware/boot", tmp_path / "firmware/boot", ignore=ignored)
    (tmp_path / "firmware/lib").symlink_to(ROOT / "firmware/lib")
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    path = tmp_path / "firmware/boot" / mutant.path
    text = path.read_text()
    assert text.count(mutant.old) == 1, f"{mutant.path} no longer has {mutant.old!r} once: adapt the mutant"
    path.write_text(text.replace(mutant.old, mutant.new))
    code, found = survive("--runs", "150", "--seed", str(SEED), "--only", kind, root=tmp_path)
    assert code == 1 and found["bricked"], f"nobody noticed that {mutant.name}"


def again(number: str) -> str:
    command = [sys.executable, str(RUN), "--seed", "7", "--again", number]
    return subprocess.run(command, capture_output=True, text=True, timeout=limit(60)).stdout.splitlines()[-1]


def test_a_run_is_done_again_by_its_numbers() -> None:
    first, second = again("3"), again("3")
    assert first == second and " boots" in first


@pytest.mark.slow
def test_an_interrupted_run_says_what_was_done() -> None:
    command = [sys.executable, str(RUN), "--json", "--jobs", "1", "--runs", "1000000", "--seed", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(limit(3))
    process.send_signal(signal.SIGINT)
    printed, complaints = process.communicate(timeout=limit(60))
    assert process.returncode == 130, complaints[-2000:]
    found = json.loads(printed)
    assert found["interrupted"] and 0 <= found["runs"] < 1_000_000
    assert "Traceback" not in complaints


def block(seed: int) -> bytes:
    return random.Random(seed).randbytes(4096)


@pytest.mark.parametrize("shape", torn_flash.ERASES)
def test_a_torn_erase_only_sets_bits(shape: str) -> None:
    old = block(1)
    torn = torn_flash.erase(old, shape, random.Random(2))
    assert len(torn) == len(old) and torn != old and torn != b"\xff" * len(old)
    assert all(before & ~after == 0 for before, after in zip(old, torn, strict=True))


@pytest.mark.parametrize("shape", torn_flash.PROGRAMS)
def test_a_torn_write_only_clears_bits_that_it_should(shape: str) -> None:
    old, new = b"\xff" * 256, block(3)[:256]
    torn = torn_flash.program(old, new, shape, random.Random(4))
    assert len(torn) == 256 and torn != new
    assert all(after & wanted == wanted for after, wanted in zip(torn, new, strict=True))


@pytest.mark.parametrize("shape", torn_flash.ERASES)
def test_a_torn_erase_is_that_of_brickproof(shape: str) -> None:
    """The share of bits that are left of each shape is theirs, within what chance does."""
    theirs = pytest.importorskip("brickproof.torn", reason="not installed: pip install brickproof-fw")

    old = block(5)
    try:
        torn = theirs._torn_erases(old, random.Random(6))[shape]
    except AttributeError:
        pytest.skip("another version of brickproof-fw, which keeps its shapes elsewhere")

    def left(data: bytes) -> float:
        return sum((0xFF & ~byte).bit_count() for byte in data) / sum((0xFF & ~byte).bit_count() for byte in old)

    ours = torn_flash.erase(old, shape, random.Random(7))
    assert left(ours) == pytest.approx(left(torn), rel=0.15, abs=0.002)
