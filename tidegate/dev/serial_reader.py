"""Takes from a serial port what a board prints: nobody there to take it, and the board would stall."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable, Iterator


class SerialReader:
    """Reads the serial port `port()` while nobody else does. take: gets what the board printed; whoever emulates the
    board may have recorded it already."""

    def __init__(self, port: Callable[[], str], take: Callable[[bytes], None] = lambda data: None):
        self._port = port
        self._take = take
        self._reader: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        if self._reader is None:
            self._stop.clear()
            self._reader = threading.Thread(target=self._read, args=(self._port(),), daemon=True)
            self._reader.start()

    def stop(self) -> None:
        if self._reader is not None:
            self._stop.set()
            self._reader.join()
            self._reader = None

    @contextlib.contextmanager
    def paused(self) -> Iterator[str]:
        """Leaves the port to a session with mpremote."""
        self.stop()
        try:
            yield self._port()
        finally:
            self.start()

    def _read(self, port: str) -> None:
        try:
            file = os.open(port, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            return
        try:
            while not self._stop.is_set():
                if select.select([file], [], [], 0.1)[0]:
                    data = os.read(file, 4096)
                    if not data:
                        return
                    self._take(data)
        except OSError:  # the board is gone
            return
        finally:
            os.close(file)
