"""`tidegate`, as a person at a terminal runs it."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path


class AtTerminal:
    """A command at a pseudo-terminal of its own. shown: what it has printed so far, and what was typed visibly."""

    def __init__(self, *words: str, cwd: Path | None = None) -> None:
        self._terminal, theirs = pty.openpty()
        command = [sys.executable, "-c", "from tidegate.cli import main; main()", *words]
        self._process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, start_new_session=True
        )
        os.close(theirs)
        self.shown = b""

    def wait_for(self, text: bytes) -> None:
        while text not in self.shown:
            self.shown += os.read(self._terminal, 4096)

    def type(self, text: bytes) -> None:
        os.write(self._terminal, text)

    def interrupt(self) -> None:
        """What Ctrl-C does, again where nothing comes of it: one between a prompt and its read is lost."""
        self._process.send_signal(signal.SIGINT)
        while not select.select([self._terminal], [], [], 2)[0] and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Its exit code, once it has ended."""
        while True:
            try:
                self.shown += os.read(self._terminal, 4096)
            except OSError:  # it has ended
                break
        os.close(self._terminal)
        return self._process.wait(60)
