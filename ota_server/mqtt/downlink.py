"""Sends what is due to devices: trust updates and offers that the broker does not have yet, and commands.

The database is the only queue. The API writes to it and sets an event; a worker in another process finds the same rows
a poll later.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from ota_server.commands.policy import CommandPolicy
from ota_server.errors import log_trouble
from ota_server.store import Store, commands, downlink_queue
from ota_server.store.models import Command

log = logging.getLogger("tidegate.downlink")

POLL_S = 0.5
BATCH = 100
ERROR_PAUSE_S = 5

Publish = Callable[[str, bytes, bool], bool]  # (topic, payload, retain) -> whether the broker acknowledged it


class Downlink:
    """A thread that sends what the database has for devices."""

    def __init__(
        self,
        store: Store,
        wake: threading.Event,
        publish: Publish,
        ready: Callable[[], bool],
        policy: CommandPolicy,
    ) -> None:
        self._store = store
        self._policy = policy
        self._wake = wake
        self._publish = publish
        self._ready = ready
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="downlink", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(POLL_S)
            self._wake.clear()
            try:
                self._round()
            except Exception as error:  # the database may be locked or full for a while; this thread must outlive that
                log_trouble(log, error, "could not send what is due; next try in %d s", ERROR_PAUSE_S)
                self._stopping.wait(ERROR_PAUSE_S)

    def _round(self) -> None:
        self._check_commands()
        if self._ready():
            for queue in downlink_queue.RETAINED:
                self._publish_retained(queue)
            self._send_commands()

    def _check_commands(self) -> None:
        """Check the commands that could not be checked when they were handed in."""
        with self._store.read() as session:
            unchecked = [row.id for row in commands.pending(session, BATCH)]
        for row in unchecked:
            self._check_command(row)

    def _publish_retained(self, queue: downlink_queue.Queue) -> None:
        with self._store.read() as session:
            unsent = queue.unsent(session, BATCH)
        failed = 0
        for one in unsent:
            if self._stopping.is_set() or not self._ready():
                return
            if not self._publish(f"tg/{one.device_id}/down/{one.path}", one.payload, True):
                failed += 1  # the broker may have no room for this one; the others' must not wait for it
                continue
            with self._store.write() as session:
                queue.mark_sent(session, one)
            log.info("%s: %s %s", one.device_id, one.path, "published" if one.payload else "withdrawn")
        if len(unsent) == BATCH and not failed:
            self._wake.set()

    def _check_command(self, row: int) -> None:
        with self._store.write() as session:
            found = session.get(Command, row)
            role = self._policy.check_stored(session, found) if found is not None else None
            if role is not None:
                commands.verified(session, row, role)

    def _send_commands(self) -> None:
        while True:
            with self._store.read() as session:
                waiting = [(row.id, row.device_id) for row in commands.sendable(session, BATCH)]
            if not waiting:
                return
            for row, device in waiting:
                with self._store.write() as session:
                    message = self._policy.claim(session, row)
                if message is None:
                    continue
                if self._stopping.is_set() or not self._ready():
                    return
                if not self._publish(f"tg/{device}/down/cmd", message, False):
                    continue  # the broker may have it anyway; without an answer it is sent again after the lease
                with self._store.write() as session:
                    commands.uplinked(session, row, "the broker")
                log.info("%s: command relayed", device)
