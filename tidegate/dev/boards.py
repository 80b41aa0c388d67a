"""The boards that `tidegate dev` runs: the emulated one, and a Linux gateway. Each prints into a log file."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import Protocol

from tidegate import library
from tidegate.boards.emulator import Emulator
from tidegate.dev import processes
from tidegate.dev.serial_reader import SerialReader
from tidegate.flash.flasher import Outcome, Progress, flash
from tidegate.flash.request import Request

EMULATED = "qemu_mps2"
GATEWAY = "unix"
KINDS = (EMULATED, GATEWAY)


class DevBoard(Protocol):
    """A board to develop with. host: this machine's address, as the board sees it; log: what it prints."""

    host: str
    log: Path

    def flash(self, request: Request, progress: Progress) -> Outcome: ...

    def ended(self) -> str:
        """How its process ended by itself; "" while it runs, and before there is one."""

    def stop(self) -> None: ...


class EmulatedBoard:
    """The emulated Cortex-M3 with blank storage, flashed over its serial port."""

    host = "10.0.2.2"

    def __init__(self, folder: Path):
        self.log = folder / "board.console"
        _empty(self.log)
        self._emulator = Emulator(folder / "board.flash", console_log=self.log)
        self._reader = SerialReader(lambda: self._emulator.pty)
        self._emulator.start()
        self._reader.start()

    def flash(self, request: Request, progress: Progress) -> Outcome:
        with self._reader.paused() as port:
            return flash(port, request, progress)

    def ended(self) -> str:
        return "" if self._emulator.alive else f"QEMU ended: {self._emulator.output() or 'without a message'}"

    @property
    def storage(self) -> Path:
        """The file that is its flash."""
        return self._emulator.storage

    def port(self) -> contextlib.AbstractContextManager[str]:
        """Its serial port, for a session."""
        return self._reader.paused()

    def stop(self) -> None:
        self._reader.stop()
        self._emulator.stop()


class GatewayProcess:
    """boards/unix/gateway in a folder: a Linux gateway and all it starts. log: what it prints."""

    host = "127.0.0.1"

    def __init__(self, folder: Path, log: Path):
        self.folder = folder
        self.port = f"unix:{folder}"
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = processes.start([library.folder() / "boards" / "unix" / "gateway", self.folder], self.log)

    def flash(self, request: Request, progress: Progress) -> Outcome:
        """A gateway that is being flashed does not run; afterwards it does."""
        self.stop()
        outcome = flash(self.port, request, progress)
        self.start()
        return outcome

    def ended(self) -> str:
        code = None if self.process is None else self.process.poll()
        return "" if code is None else f"its process ended with {code}"

    def stop(self) -> None:
        """A power cut: kill -9 of everything it runs."""
        if self.process is not None:
            processes.kill(self.process)
            self.process = None


def make(name: str, folder: Path) -> DevBoard:
    """The board `name` of KINDS, powered on, with its files in `folder`."""
    if name == EMULATED:
        return EmulatedBoard(folder)
    gateway = GatewayProcess(folder / "gateway", folder / "board.console")
    _empty(gateway.log)
    return gateway


def _empty(log: Path) -> None:
    log.unlink(missing_ok=True)
    log.touch()
