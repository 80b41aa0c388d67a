"""Records what a board prints in a file, and shares its serial port with sessions."""

from __future__ import annotations

import contextlib
import os
import re
import select
import threading
import time
from collections.abc import Iterator
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


class SerialConsole(RecordedConsole):
    """A console on a serial port, `pty`, from which somebody has to take what the board prints: it would stall."""

    pty: str

    def __init__(self, log: Path):
        super().__init__(log)
        self._reader: threading.Thread | None = None
        self._stop = threading.Event()

    def watch(self) -> None:
        """Take from the console what the board prints; not while mpremote does."""
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

    def _take(self, data: bytes) -> None:
        """What the board printed; whoever emulates it may have recorded it already."""

    def _read(self, pty: str) -> None:
        try:
            file = os.open(pty, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            return
        try:
            while not self._stop.is_set():
                if select.select([file], [], [], 0.1)[0]:
                    data = os.read(file, 4096)
                    if not data:
                        return
                    self._take(data)
        except OSError:  # the emulator is gone
            return
        finally:
            os.close(file)
