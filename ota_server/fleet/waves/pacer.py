"""Carries rollouts in waves on, in a thread of its own. Several servers of one database may each have one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ota_server.fleet.waves import carry_out, found
from ota_server.repeated import Repeated
from ota_server.store import Store, absences
from ota_server.store.clock import CLOCK, Clock

log = logging.getLogger("tidegate.rollouts")

LOOK_S = 2.0
_DONE_EACH = 15  # looks: newcomers to what is done wait longer


class Pacer(Repeated):
    """`wake` is called when there are new offers to send; `hears` says whether devices can be heard now."""

    def __init__(
        self, store: Store, wake: Callable[[], None], clock: Clock = CLOCK, hears: Callable[[], bool] = lambda: True
    ) -> None:
        super().__init__("rollouts", log, "rollouts wait", every_s=LOOK_S)
        self._store = store
        self._wake = wake
        self._clock = clock
        self._hears = hears
        self._looks = 0

    def once(self, stopping: threading.Event) -> None:
        if not self._clock.is_trusted() or not self._hears():  # soaks and deadlines are lengths of time
            return
        self._looks += 1
        with self._store.read() as session:
            is_due = absences.is_due(session, self._clock.now_ms())
            todo = [one.id for one in found.active(session) if one.state == "running" or self._looks % _DONE_EACH == 0]
        if is_due:
            with self._store.write() as session:
                if absences.heard(session, self._clock.now_ms()):
                    log.warning("devices were not heard for a while: deadlines of rollouts move by that")
        for rollout_id in todo:
            acts = carry_out.advance(self._store, rollout_id)
            if acts:
                log.info("rollout %d: %s", rollout_id, "; ".join(acts))
                self._wake()
