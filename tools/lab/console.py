"""Records what a board prints in a file."""

from __future__ import annotations

import re
import time
from pathlib import Path

from patience import limit

from lab.processes import LabError


class RecordedConsole:
    """A console whose every line goes to the file `log`, which is emptied first."""

    def __init__(self, log: Path):
        self._log = log
        self._log.write_bytes(b"")

    @property
    def lines(self) -> list[str]:
        return self._log.read_text(errors="replace").splitlines()

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
