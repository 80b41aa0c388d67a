"""Boards of `tidegate dev`: the emulated one, a Linux gateway, one at a serial port. Each prints into a log file."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from tidegate import library
from tidegate.boards.emulator import Emulator
from tidegate.dev import processes
from tidegate.dev.serial_reader import SerialReader
from tidegate.errors import TidegateError
from tidegate.flash.flasher import Outcome, Progress, flash
from tidegate.flash.ports import resolve
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


class PortBoard:
    """A board at a serial port of this machine, which it reaches at `host`. Unplugged, it is awaited."""

    def __init__(self, port: str, host: str, log: Path):
        self.host = host
        self.log = log
        self._port = resolve(port)
        _empty(log)
        self._reader = SerialReader(lambda: self._port, self._print, again=True)
        self._reader.start()

    def flash(self, request: Request, progress: Progress) -> Outcome:
        """Counters are erased: the session's releases begin at 1."""
        with self._reader.paused() as port:
            return flash(port, replace(request, wipe=True), progress)

    def ended(self) -> str:
        return ""

    def stop(self) -> None:
        """What it runs, it goes on running."""
        self._reader.stop()

    def _print(self, data: bytes) -> None:
        with self.log.open("ab") as log:
            log.write(data)


def own_address() -> str:
    """This machine's address towards other networks, as boards beside it reach it; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            found: str = probe.getsockname()[0]
        except OSError:
            raise TidegateError("this machine is in no network", "Name its address with --host") from None
    return found


def make(name: str, folder: Path, port: str | None = None, host: str | None = None) -> DevBoard:
    """The board at `port`, which reaches this machine at `host`; without one the board `name` of KINDS, powered on. Its
    files are in `folder`."""
    if port is not None:
        return PortBoard(port, host or own_address(), folder / "board.console")
    if name == EMULATED:
        return EmulatedBoard(folder)
    gateway = GatewayProcess(folder / "gateway", folder / "board.console")
    _empty(gateway.log)
    return gateway


def _empty(log: Path) -> None:
    log.unlink(missing_ok=True)
    log.touch()
