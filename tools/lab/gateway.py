"""A Linux gateway of the lab: boards/unix/gateway in a folder, its console recorded."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from lab import processes
from lab.console import RecordedConsole
from lab.processes import ROOT


class LabGateway(RecordedConsole):
    """One gateway; `lines` is what it printed since it was made, over all starts."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.port = f"unix:{folder}"
        super().__init__(folder.with_suffix(".console"))
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

    def pause(self) -> None:
        """Stop everything it runs, as a hang does, until `go_on`."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGCONT)

    def power_off(self) -> None:
        self.power_cut()
