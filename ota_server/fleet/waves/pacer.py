"""Carries rollouts in waves on, in a thread of its own. Several servers of one database may each have one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ota_server.errors import log_trouble
from ota_server.fleet.waves import carry_out, found
from ota_server.store import Store
from ota_server.store.clock import CLOCK, Clock

log = logging.getLogger("tidegate.rollouts")

LOOK_S = 2.0
_DONE_EACH = 15  # looks: newcomers to what is done wait longer
ERROR_PAUSE_S = 5.0
STOP_S = 10.0


class Pacer:
    """`wake` is called when there are new offers to send."""

    def __init__(self, store: Store, wake: Callable[[], None], clock: Clock = CLOCK) -> None:
        self._store = store
        self._wake = wake
        self._clock = clock
        self._stopping = threading.Event()
        self._looks = 0
        self._thread = threading.Thread(target=self._run, name="rollouts", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def _run(self) -> None:
        pause = LOOK_S
        while not self._stopping.wait(pause):
            pause = LOOK_S
            try:
                if self._clock.is_trusted():  # soaks and deadlines are lengths of time
                    self._look()
            except Exception as error:  # the database may be locked, full or away for a while
                log_trouble(log, error, "rollouts wait; next try in %d s", ERROR_PAUSE_S)
                pause = ERROR_PAUSE_S

    def _look(self) -> None:
        self._looks += 1
        with self._store.read() as session:
            todo = [one.id for one in found.active(session) if one.state == "running" or self._looks % _DONE_EACH == 0]
        for rollout_id in todo:
            acts = carry_out.advance(self._store, rollout_id)
            if acts:
                log.info("rollout %d: %s", rollout_id, "; ".join(acts))
                self._wake()
