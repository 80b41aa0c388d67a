"""Fixtures for the board's own tests: an emulated board with fresh storage, and a Python prompt on it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from board_prompt import Prompt
from patience import limit

from tidegate.boards.emulator import Emulator


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Emulator]:
    """An emulated board with blank storage, powered on."""
    with Emulator(tmp_path / "flash") as emulator:
        yield emulator


@pytest.fixture
def prompt() -> Iterator[Callable[[Emulator], Prompt]]:
    """prompt(board): a new Prompt on it; the one before is closed."""
    opened: list[Prompt] = []

    def connect(emulator: Emulator) -> Prompt:
        for old in opened:
            old.close()
        opened.append(Prompt(emulator.pty))
        return opened[-1]

    yield connect
    for old in opened:
        old.close()


@pytest.fixture
def mpremote() -> Callable[..., str]:
    """mpremote(board, *words): the command line tool, as a person would use it; its output."""

    def run(emulator: Emulator, *words: str) -> str:
        command = [sys.executable, "-m", "mpremote", "connect", emulator.pty, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit(60))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prompt]:
    """A prompt on one board for all tests of a file that leave it as it was."""
    with Emulator(tmp_path_factory.mktemp("shared") / "flash") as emulator:
        prompt = Prompt(emulator.pty)
        yield prompt
        prompt.close()
