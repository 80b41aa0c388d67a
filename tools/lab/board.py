"""An emulated board of the lab: power, console, serial port."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.console import SerialConsole
from lab.processes import ROOT
from tidegate import boards
from tidegate.boards.emulator import Emulator
from tidegate.dev import mapped_folder
from tidegate.flash import loader_image
from tidegate.flash.serial_session import Session

BOARD = boards.load(ROOT, "qemu_mps2")


class LabBoard(SerialConsole):
    """One board with its console recorded. `lines` is what it printed since it was made, over all resets."""

    def __init__(self, storage: Path, mac: str = "02:00:00:74:69:01", firmware: Path | None = None):
        super().__init__(storage.with_suffix(".console"))
        self.emulator = Emulator(storage, mac=mac, firmware=firmware, console_log=self._log)
        self.blank = True  # nothing was put on it yet

    @property
    def pty(self) -> str:  # type: ignore[override]
        return self.emulator.pty

    def power_on(self) -> None:
        self.emulator.start()
        self.watch()

    def power_cut(self) -> None:
        """kill -9, at whatever the board is doing."""
        self.emulator.kill()
        self.unwatch()

    def power_off(self) -> None:
        self.unwatch()
        self.emulator.stop()

    def deliver(self, files: Mapping[str, bytes]) -> None:
        """Put files on the board, past its serial line. What a session finds there whole it does not send again."""
        self.blank = False
        with self.serial_port_free() as port, Session(port) as session:
            mapped_folder.deliver(session, self.emulator.storage, files)

    def slots(self) -> dict[str, Any]:
        """The answer of boot.flash.status over the serial port. The session stops the application for good."""
        with self.serial_port_free() as port, Session(port) as session:
            session.run(loader_image.reach(BOARD))
            session.run("from boot import board, flash")
            return session.value("flash.status(board.Board())")
