"""Takes from a serial port what a board prints: nobody there to take it, and the board would stall."""

from __future__ import annotations

import contextlib
import os
import select
import termios
import threading
import tty
from collections.abc import Callable, Iterator

REOPEN_S = 0.2


class SerialReader:
    """Reads the serial port `port()` while nobody else does. take: gets what the board printed; whoever emulates the
    board may have recorded it already. again: open a port that is gone whenever it is there again, as that of a USB
    board after a reset."""

    def __init__(
        self, port: Callable[[], str], take: Callable[[bytes], None] = lambda data: None, *, again: bool = False
    ):
        self._port = port
        self._take = take
        self._again = again
        self._reader: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        if self._reader is None:
            self._stop.clear()
            self._reader = threading.Thread(target=self._follow, args=(self._port(),), daemon=True)
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

    def _follow(self, port: str) -> None:
        self._read(port)
        while self._again and not self._stop.wait(REOPEN_S):
            self._read(port)

    def _read(self, port: str) -> None:
        try:
            file = os.open(port, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            return
        try:
            if self._again:
                _as_board_wants_it(file)
            while not self._stop.is_set():
                if select.select([file], [], [], 0.1)[0]:
                    data = os.read(file, 4096)
                    if not data:
                        return
                    self._take(data)
        except (OSError, termios.error):  # the board is gone
            return
        finally:
            os.close(file)


def _as_board_wants_it(file: int) -> None:
    """Raw, as mpremote has it: a terminal would send the board its own words back."""
    tty.setraw(file)
    settings = termios.tcgetattr(file)
    settings[4] = settings[5] = termios.B115200
    termios.tcsetattr(file, termios.TCSANOW, settings)
