"""A Linux gateway on ARM64: Debian's MicroPython under qemu-user, where `make arm64` has fetched it.

That command runs all tests about gateways there; here is the little that `make test` has time for.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import arm64
import programs
import pytest
from patience import limit

from tidegate.flash.flasher import open_session
from tidegate.flash.identify import Mismatch, check, recognise
from tidegate.flash.request import Request
from tidegate.sources import Sources

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = "libraries/test_cose"


@pytest.fixture
def micropython(monkeypatch: pytest.MonkeyPatch) -> Path:
    if not arm64.COMMAND.exists():
        pytest.skip("MicroPython for ARM64 is not installed: make arm64")
    try:
        command = arm64.prepare()
    except programs.MissingProgram as why:
        pytest.skip(str(why))
    monkeypatch.setenv("TIDEGATE_UNIX_MICROPYTHON", str(command))
    return command


def test_flashing_knows_what_it_finds(micropython: Path, tmp_path: Path) -> None:
    sources = Sources.checkout(ROOT)
    board = sources.board("unix")
    with open_session(f"unix:{tmp_path}", Request(board, sources)) as session:
        found = recognise(session)
    assert found.version >= (1, 25, 0) and found.arch == "" and found.mpy & 0xFF == 6
    check(found, board, sources)
    with pytest.raises(Mismatch, match=r"loads \.mpy version 7, images have 6"):
        check(replace(found, mpy=7), board, sources)
    with pytest.raises(Mismatch, match="machine code for armv7m, the MicroPython at .* loads none"):
        check(found, replace(board, arch="armv7m"), sources)


def test_resets_and_the_watchdog_start_it_again(micropython: Path, tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()
    shutil.copy(ROOT / "boards/unix/board.py", tmp_path / "boot")
    (tmp_path / "main.py").write_text(
        "import ssl\n"
        "from boot.board import Board\n"
        "board = Board()\n"
        "print('cause', board.reset_cause(), ssl.SSLContext)\n"
        "if board.reset_cause() == 'power-on':\n"
        "    board.reset()\n"
        "if board.reset_cause() == 'hard':\n"
        "    board.watchdog(200)\n"
        "    while True: pass\n"
    )
    command = [ROOT / "boards/unix/gateway", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit(60))
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith("cause")]
    assert said == [f"cause {cause} <class 'SSLContext'>" for cause in ("power-on", "hard", "watchdog")]


def test_signatures_are_verified_in_python(micropython: Path) -> None:
    command = [arm64.COMMAND, ROOT / "tests/device/support/run.py", SCRIPT, "unix"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit(120), cwd=ROOT)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and any(line.startswith("ok test_") for line in lines), done.stdout + done.stderr
