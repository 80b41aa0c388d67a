"""Records what a board prints in a file, and shares its serial port with sessions."""

from __future__ import annotations

import re
import time
from pathlib import Path

from patience import limit

from lab.processes import LabError
from tidegate.dev.serial_reader import SerialReader


class RecordedConsole:
    """A console whose every line goes to the file `log`, which is emptied first."""

    def __init__(self, log: Path):
        self._log = log
        self._log.write_bytes(b"")

    @property
    def lines(self) -> list[str]:
        """The lines that are whole: the board may be in the middle of printing the next."""
        return self._log.read_text(errors="replace").rpartition("\n")[0].splitlines()

    def wait_line(self, pattern: str, timeout_s: float, since: int = 0) -> re.Match[str]:
        """The first console line from number `since` on that `pattern` is found in. timeout_s: of a quiet machine."""
        expected = re.compile(pattern)
        deadline = time.monotonic() + limit(timeout_s)
        while True:
            lines = self.lines[since:]
            for line in lines:
                if found := expected.search(line):
                    return found
            if time.monotonic() > deadline:
                seen = "\n  ".join(lines[-12:])
                raise LabError(
                    f"the console did not show {pattern!r} in {limit(timeout_s):.0f} s; it showed:\n  {seen}"
                )
            time.sleep(0.05)


class SerialConsole(RecordedConsole):
    """A console on a serial port, `pty`, from which somebody has to take what the board prints: it would stall."""

    pty: str

    def __init__(self, log: Path):
        super().__init__(log)
        self._reader = SerialReader(lambda: self.pty, self._take)
        self.watch = self._reader.start  # take what the board prints; not while mpremote does
        self.unwatch = self._reader.stop
        self.serial_port_free = self._reader.paused  # leaves the serial port to a session with mpremote

    def _take(self, data: bytes) -> None:
        """What the board printed; whoever emulates it may have recorded it already."""
