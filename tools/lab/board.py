"""An emulated board of the lab: power, console, serial port."""

from __future__ import annotations

import contextlib
import os
import re
import select
import threading
import time
from pathlib import Path

from lab.processes import LabError
from tidegate.emulator import Emulator

_KEPT_LINES = 2000


class LabBoard:
    """One board with a reader on its console. `lines` is what it printed since it was made, over all resets."""

    def __init__(self, storage: Path, mac: str = "02:00:00:74:69:01", cpu: str = "m3"):
        self.emulator = Emulator(storage, mac=mac, cpu=cpu)
        self.lines: list[str] = []
        self._news = threading.Condition()
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
        """Read the console; not while mpremote talks to the board."""
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
    def serial_port_free(self):
        """For the time of a session with mpremote."""
        self.unwatch()
        try:
            yield self.pty
        finally:
            self.watch()

    def wait_line(self, pattern: str, timeout_s: float, since: int = 0) -> re.Match[str]:
        """The first console line from number `since` on that `pattern` is found in."""
        wanted = re.compile(pattern)
        deadline = time.monotonic() + timeout_s
        with self._news:
            while True:
                for line in self.lines[since:]:
                    if found := wanted.search(line):
                        return found
                left = deadline - time.monotonic()
                if left <= 0 or not self._news.wait(left):
                    seen = "\n  ".join(self.lines[since:][-12:])
                    raise LabError(
                        f"the console did not show {pattern!r} within {timeout_s:.0f} s; last lines:\n  {seen}"
                    )

    def _read(self, pty: str) -> None:
        try:
            file = os.open(pty, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            return
        rest = b""
        try:
            while not self._stop.is_set():
                ready, _, _ = select.select([file], [], [], 0.1)
                if not ready:
                    continue
                try:
                    data = os.read(file, 4096)
                except BlockingIOError:
                    continue
                except OSError:  # the emulator is gone
                    return
                if not data:
                    return
                *whole, rest = (rest + data).split(b"\n")
                with self._news:
                    self.lines += [line.decode(errors="replace").rstrip("\r") for line in whole]
                    del self.lines[: max(0, len(self.lines) - _KEPT_LINES)]
                    self._news.notify_all()
        finally:
            os.close(file)
