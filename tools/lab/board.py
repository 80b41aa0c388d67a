"""An emulated board of the lab: power, console, serial port."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.console import RecordedConsole
from lab.processes import ROOT
from tidegate import boards
from tidegate.boards.emulator import Emulator
from tidegate.flash import loader_image
from tidegate.flash.serial_session import Session

BOARD = boards.load(ROOT, "qemu_mps2")


class LabBoard(RecordedConsole):
    """One board with its console recorded. `lines` is what it printed since it was made, over all resets."""

    def __init__(self, storage: Path, mac: str = "02:00:00:74:69:01", firmware: Path | None = None):
        super().__init__(storage.with_suffix(".console"))
        self.emulator = Emulator(storage, mac=mac, firmware=firmware, console_log=self._log)
        self._reader: threading.Thread | None = None
        self._stop = threading.Event()

    @property
    def pty(self) -> str:
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

    def watch(self) -> None:
        """Take from the console what the board prints, as it would stall without a reader; not while mpremote does."""
        if self._reader is None:
            self._stop.clear()
            self._reader = threading.Thread(target=self._read, args=(self.pty,), daemon=True)
            self._reader.start()

    def unwatch(self) -> None:
        if self._reader is not None:
            self._stop.set()
            self._reader.join()
            self._reader = None

    @contextlib.contextmanager
    def serial_port_free(self) -> Iterator[str]:
        """Leaves the serial port to a session with mpremote."""
        self.unwatch()
        try:
            yield self.pty
        finally:
            self.watch()

    def slots(self) -> dict[str, Any]:
        """The answer of boot.flash.status over the serial port. The session stops the application for good."""
        with self.serial_port_free() as port, Session(port) as session:
            session.run(loader_image.reach(BOARD))
            session.run("from boot import board, flash")
            return session.value("flash.status(board.Board())")

    def _read(self, pty: str) -> None:
        try:
            file = os.open(pty, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            return
        try:
            while not self._stop.is_set():
                ready, _, _ = select.select([file], [], [], 0.1)
                if ready and not os.read(file, 4096):
                    return
        except OSError:  # the emulator is gone
            return
        finally:
            os.close(file)
