"""What a board prints, line by line, which lines are errors, and how long it has been silent in a trial."""

from __future__ import annotations

import time
from pathlib import Path

_ERROR = "tidegate: error: "  # a line that says one (firmware/lib/gate/console.py)
_TRIAL = "tidegate: trial "  # the line with which a trial's attempt begins (firmware/boot/select.py)
_END_OF_ANSWER = "\x04"  # of the raw REPL: before it is what flashing was told
SILENT_S = 15.0  # of a board in a trial, after which somebody wonders


def is_error(line: str) -> bool:
    return line.startswith(_ERROR)


class BoardLog:
    """Reads the file in which a board's output is recorded."""

    def __init__(self, path: Path):
        self._path = path
        self._read = 0  # bytes
        self._trial_at: float | None = None  # of time.monotonic: when the attempt that runs began
        self._heard_at = 0.0  # when there was a line last, or the silence was spoken of

    def skip(self) -> None:
        """What is there so far is not to be read: what flashing and the board said to each other."""
        self._read = self._path.stat().st_size

    def lines(self) -> list[str]:
        """The whole lines that are new."""
        with self._path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole, end, _ = data.rpartition(b"\n")
        self._read += len(whole) + len(end)
        found = [
            line.rpartition(_END_OF_ANSWER)[2].strip("\r\n") for line in whole.decode(errors="replace").splitlines()
        ]
        found = [line for line in found if line.strip()]
        if found:
            self._heard_at = time.monotonic()
        if any(line.startswith(_TRIAL) for line in found):
            self._trial_at = self._heard_at
        return found

    def trial_ended(self) -> None:
        self._trial_at = None

    def silence(self) -> float | None:
        """Seconds since the attempt of a trial began, each time when nothing was printed for SILENT_S; else None."""
        now = time.monotonic()
        if self._trial_at is None or now - self._heard_at < SILENT_S:
            return None
        self._heard_at = now
        return now - self._trial_at
