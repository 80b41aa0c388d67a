"""Work that is done again and again, in a thread of its own, until somebody stops it."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod

from ota_server.errors import log_trouble

ERROR_PAUSE_S = 5.0


class Repeated(ABC):
    """Calls `once` every `every_s` seconds. What goes wrong is logged as `trouble`, and `once` called again later."""

    def __init__(self, name: str, log: logging.Logger, trouble: str, *, every_s: float, stop_s: float = 10.0) -> None:
        """name: of the thread; stop_s: how long `stop` waits for what is under way."""
        self._name, self._log, self._trouble = name, log, trouble
        self._every_s, self._stop_s = every_s, stop_s
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Also after a stop."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stopping,), name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(self._stop_s)

    @abstractmethod
    def once(self, stopping: threading.Event) -> None:
        """The work. stopping: is set when it is to end soon."""

    def _run(self, stopping: threading.Event) -> None:
        pause = self._every_s
        while not stopping.wait(pause):
            pause = self._every_s
            try:
                self.once(stopping)
            except Exception as error:  # the database may be locked, full or away for a while
                log_trouble(self._log, error, f"{self._trouble}; next try in %d s", ERROR_PAUSE_S)
                pause = ERROR_PAUSE_S
