"""A Linux gateway of the lab: boards/unix/gateway in a folder, its console recorded."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from lab.console import RecordedConsole
from tidegate.dev.boards import GatewayProcess


class LabGateway(RecordedConsole):
    """One gateway; `lines` is what it printed since it was made, over all starts."""

    def __init__(self, folder: Path):
        self.folder = folder
        super().__init__(folder.with_suffix(".console"))
        self._gateway = GatewayProcess(folder, self._log)
        self.port = self._gateway.port
        self.power_on = self._gateway.start
        self.power_off = self.power_cut = self._gateway.stop

    @contextlib.contextmanager
    def serial_port_free(self) -> Iterator[str]:
        """A gateway that is being flashed does not run; afterwards it does."""
        self.power_off()
        yield self.port
        self.power_on()

    def pause(self) -> None:
        """Stop everything it runs, as a hang does, until `go_on`."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._gateway.process is not None:
            os.killpg(self._gateway.process.pid, number)
