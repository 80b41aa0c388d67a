"""An emulated board of the lab: power, console, serial port."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from lab import mapped_folder
from lab.console import SerialConsole
from lab.processes import ROOT
from tidegate import boards
from tidegate.boards.emulator import Emulator
from tidegate.flash import loader_image
from tidegate.flash.serial_session import Session
from tidegate.image import Tree

BOARD = boards.load(ROOT, "qemu_mps2")
_COPY = """
with open({!r}, "rb") as given, open({!r}, "wb") as file:
    part = bytearray(4096)
    while count := given.readinto(part):
        file.write(memoryview(part)[:count])
"""


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
        given: Tree = {str(number): data for number, data in enumerate(files.values())}
        mount = mapped_folder.put(self.emulator.storage, given, "/given")  # the running board sees it at once
        with self.serial_port_free() as port, Session(port) as session:
            session.run(mount)
            for number, path in enumerate(files):
                for folder in reversed(PurePosixPath(path).parents[:-1]):
                    session.run(f"_tg_folder({str(folder)!r})")
                session.run(_COPY.format(f"/given/{number}", path))
            session.run("vfs.umount('/given')")

    def slots(self) -> dict[str, Any]:
        """The answer of boot.flash.status over the serial port. The session stops the application for good."""
        with self.serial_port_free() as port, Session(port) as session:
            session.run(loader_image.reach(BOARD))
            session.run("from boot import board, flash")
            return session.value("flash.status(board.Board())")
