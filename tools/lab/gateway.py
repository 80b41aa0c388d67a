"""A Linux gateway of the lab: boards/unix/gateway in a folder, its console recorded."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from lab import processes
from lab.processes import ROOT, LabError


class LabGateway:
    """One gateway; `lines` is what it printed since it was made, over all starts."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.port = f"unix:{folder}"
        self._log = folder.with_suffix(".console")
        self._log.write_bytes(b"")
        self._process: subprocess.Popen[bytes] | None = None

    def power_on(self) -> None:
        self._process = processes.start([ROOT / "boards" / "unix" / "gateway", self.folder], self._log)

    @contextlib.contextmanager
    def serial_port_free(self) -> Iterator[str]:
        """A gateway that is being flashed does not run; afterwards it does."""
        self.power_off()
        yield self.port
        self.power_on()

    def power_cut(self) -> None:
        """kill -9 of everything it runs, at whatever it is doing."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def power_off(self) -> None:
        self.power_cut()

    @property
    def lines(self) -> list[str]:
        return self._log.read_text(errors="replace").splitlines()

    def wait_line(self, pattern: str, timeout_s: float, since: int = 0) -> re.Match[str]:
        """The first console line from number `since` on that `pattern` is found in."""
        wanted = re.compile(pattern)
        deadline = time.monotonic() + timeout_s
        while True:
            lines = self.lines[since:]
            for line in lines:
                if found := wanted.search(line):
                    return found
            if time.monotonic() > deadline:
                seen = "\n  ".join(lines[-12:])
                raise LabError(f"the gateway did not print {pattern!r} in {timeout_s:.0f} s; it printed:\n  {seen}")
            time.sleep(0.05)
