"""`tidegate link` for a board of the lab: the only way of a board whose uplink is usb."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lab import processes
from lab.board import LabBoard
from lab.console import RecordedConsole
from lab.pico_w import LabPicoW

PATIENT = Path(__file__).with_name("patient.py")


class LabLink(RecordedConsole):
    """`lines` is what the commands printed since it was made, over all starts. patient: as tools/lab/patient.py."""

    def __init__(self, board: LabBoard | LabPicoW, config: Path, patient: bool = False):
        super().__init__(config.with_suffix(".link"))
        self._program: list[str | Path] = (
            [processes.BIN / "python", PATIENT] if patient else [processes.BIN / "tidegate"]
        )
        self._board = board
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Takes the serial port from the lab, which has read it so far."""
        self._board.unwatch()
        self._process = processes.start([*self._program, "link", self._board.pty, "--config", self._config], self._log)

    def stop(self) -> int:
        """As with Ctrl-C; the exit code."""
        return self._end(kill=False)

    def kill(self) -> int:
        """kill -9."""
        return self._end(kill=True)

    def _end(self, kill: bool) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if kill:
            process.kill()
        processes.stop(process)
        self._board.watch()
        return process.returncode
