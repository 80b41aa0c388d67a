"""Fixtures for the board's own tests: an emulated board with fresh storage, and a Python prompt on it."""

from __future__ import annotations

import ast
import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mpremote.transport_serial import SerialTransport

from tidegate.boards.emulator import Emulator


class Prompt:
    """The board's raw REPL, entered without a soft reset, so that reset_cause() stays what it was."""

    def __init__(self, pty: str):
        self._transport = SerialTransport(pty, timeout=0.5)
        self.enter()

    def enter(self) -> None:
        self._transport.in_raw_repl = False
        self._transport.enter_raw_repl(soft_reset=False)

    def exec(self, code: str) -> str:
        return self._transport.exec(code).decode().replace("\r\n", "\n")

    def eval(self, expression: str) -> Any:
        return ast.literal_eval(self.exec(f"print(repr(({expression})))"))

    def start(self, code: str) -> None:
        """Runs code without waiting for its end."""
        self._transport.exec_raw_no_follow(code)

    def read_until(self, ending: bytes, timeout: float = 10) -> bytes:
        return self._transport.read_until(1, ending, timeout=timeout)

    def send(self, data: bytes) -> None:
        self._transport.serial.write(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._transport.close()


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
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
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
