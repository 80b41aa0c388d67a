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
from ota_server.mqtt.publisher import FLIGHT, Outgoing, Publish
from ota_server.store import Store, commands, downlink_queue
from ota_server.store.models import Command

log = logging.getLogger("tidegate.downlink")

POLL_S = 1.0  # between looks for what another process wrote, in statements that read indexes
ROUND_S = 0.02  # at least, between two rounds: devices that wake us in a storm get their offers in flights
COMMANDS_FLIGHT = 100  # commands whose signatures are checked in one transaction
PENDING = 100
ERROR_PAUSE_S = 5


class Downlink:
    """A thread that sends what the database has for devices. Several, in processes of their own, share the work."""

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
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        while not self._stopping.wait(ROUND_S):
            self._wake.wait(POLL_S)
            self._wake.clear()
            try:
                self._round()
            except Exception as error:  # the database may be locked or full for a while; this thread must outlive that
                log_trouble(log, error, "could not send what is due; next try in %d s", ERROR_PAUSE_S)
                self._stopping.wait(ERROR_PAUSE_S)

    def _round(self) -> None:
        with self._store.read() as session:
            is_unsent = downlink_queue.is_anything_unsent(session)
            unchecked = [row.id for row in commands.pending(session, PENDING)]
        for row in unchecked:
            self._check_command(row)
        if not self._ready():
            return
        if is_unsent:
            for queue in downlink_queue.RETAINED:
                self._publish_retained(queue)
        self._send_commands()

    def _goes_on(self) -> bool:
        return not self._stopping.is_set() and self._ready()

    def _publish_retained(self, queue: downlink_queue.Queue) -> None:
        """All of it once. What the broker has no room for waits for the next round; the others' do not wait for it."""
        after = ("", "")
        while self._goes_on():
            unsent = downlink_queue.take(self._store, queue, FLIGHT, after)
            if not unsent:
                return
            flight = [Outgoing(f"tg/{one.device_id}/down/{one.path}", one.payload, True) for one in unsent]
            taken = [one for one, is_taken in zip(unsent, self._publish(flight), strict=True) if is_taken]
            if taken:
                with self._store.write() as session:
                    downlink_queue.mark_sent(session, queue, taken)
            for one in taken:
                log.info("%s: %s %s", one.device_id, one.path, "published" if one.payload else "withdrawn")
            after = unsent[-1].device_id, unsent[-1].component

    def _check_command(self, row: int) -> None:
        """Check a command that could not be checked when it was handed in."""
        with self._store.write() as session:
            found = session.get(Command, row)
            role = self._policy.check_stored(session, found) if found is not None else None
            if role is not None:
                commands.verified(session, row, role)

    def _send_commands(self) -> None:
        while self._goes_on():
            with self._store.read() as session:
                waiting = [row.id for row in commands.sendable(session, COMMANDS_FLIGHT)]
            if not waiting:
                return
            with self._store.write() as session:
                mine = [(row.id, row.device_id, row.message) for row in self._policy.claim_all(session, waiting)]
            if not mine:
                return  # another worker was faster
            flight = [Outgoing(f"tg/{device}/down/cmd", message or b"", False) for _, device, message in mine]
            # One that is not acknowledged the broker may have anyway; without an answer it goes out after the lease.
            taken = [row[:2] for row, is_taken in zip(mine, self._publish(flight), strict=True) if is_taken]
            if taken:
                with self._store.write() as session:
                    commands.all_uplinked(session, [row for row, _ in taken], "the broker")
            for _, device in taken:
                log.info("%s: command relayed", device)
