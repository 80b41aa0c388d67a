"""Sends what the database says should be sent: trust updates and offers not yet taken by the broker, commands not
yet relayed.

The database is the only queue. The API writes to it and sets an event; a worker in another process finds the same
rows a poll later.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ota_server.commands.policy import Relay
from ota_server.store import Store, commands, data, devices, retention, trust_updates
from ota_server.store.models import Command

log = logging.getLogger("tidegate.downlink")

POLL_S = 0.5
BATCH = 100
PRUNE_S = 30
PRUNE_AGAIN_S = 0.2  # when there was more than one batch: what else writes gets its turn in between
ERROR_PAUSE_S = 5

Publish = Callable[[str, bytes, bool], bool]  # (topic, payload, retain) -> whether the broker acknowledged it


class Outbox:
    """A thread that empties the database of things to say."""

    def __init__(
        self,
        store: Store,
        wake: threading.Event,
        publish: Publish,
        ready: Callable[[], bool],
        keep: retention.Keep,
        relay: Relay,
    ) -> None:
        self._store = store
        self._relay = relay
        self._wake = wake
        self._publish = publish
        self._ready = ready
        self._keep = keep
        self._stopping = threading.Event()
        self._prune_at = 0.0
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

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
            except Exception:  # the database may be locked or full for a while; this thread must outlive that
                log.exception("could not work through the outbox; next try in %d s", ERROR_PAUSE_S)
                self._stopping.wait(ERROR_PAUSE_S)

    def _round(self) -> None:
        self._housekeeping()
        if self._ready():
            self._send_trust()
            self._withdraw_offers()
            self._send_offers()
            self._send_data()
            self._send_commands()

    def _housekeeping(self) -> None:
        with self._store.read() as session:
            over, unchecked = commands.over(session), [row.id for row in commands.pending(session, BATCH)]
        if over:
            with self._store.write() as session:
                commands.end(session)
        for row in unchecked:
            self._check_command(row)
        if time.monotonic() >= self._prune_at:
            with self._store.write() as session:
                retention.prune(session)
            with self._store.write() as session:
                more = retention.prune_telemetry(session, self._keep) == retention.BATCH
            self._prune_at = time.monotonic() + (PRUNE_AGAIN_S if more else PRUNE_S)

    def _send_trust(self) -> None:
        with self._store.read() as session:
            updates = trust_updates.unsent(session, BATCH)
        for device, version, document in updates:
            if self._stopping.is_set() or not self._publish(f"tg/{device}/down/trust", document, True):
                return
            with self._store.write() as session:
                trust_updates.sent(session, device, version)
            log.info("%s: trust store version %d published", device, version)
        if len(updates) == BATCH:
            self._wake.set()

    def _withdraw_offers(self) -> None:
        with self._store.read() as session:
            waiting = devices.withdrawn_offers(session, BATCH)
        for device in waiting:
            # An empty retained message takes the last one away (MQTT 3.1.1, section 3.3.1.3).
            if self._stopping.is_set() or not self._publish(f"tg/{device}/down/offer", b"", True):
                return
            with self._store.write() as session:
                devices.offer_sent(session, device, None)
            log.info("%s: offer withdrawn", device)
        with self._store.read() as session:
            gone = data.withdrawn(session, BATCH)
        for device, name in gone:
            if self._stopping.is_set() or not self._publish(f"tg/{device}/down/offer/{name}", b"", True):
                return
            with self._store.write() as session:
                data.sent(session, device, name, None)
            log.info("%s: data %s withdrawn", device, name)

    def _send_offers(self) -> None:
        with self._store.read() as session:
            offers = devices.unsent_offers(session, BATCH)
        for device, target, envelope in offers:
            if self._stopping.is_set() or not self._publish(f"tg/{device}/down/offer", envelope, True):
                return
            with self._store.write() as session:
                devices.offer_sent(session, device, target)
            log.info("%s: offer published", device)
        if len(offers) == BATCH:
            self._wake.set()

    def _send_data(self) -> None:
        with self._store.read() as session:
            offers = data.unsent(session, BATCH)
        for device, name, target, envelope in offers:
            # A topic for each component, so that no offer displaces another from the broker's memory.
            if self._stopping.is_set() or not self._publish(f"tg/{device}/down/offer/{name}", envelope, True):
                return
            with self._store.write() as session:
                data.sent(session, device, name, target)
            log.info("%s: data %s published", device, name)
        if len(offers) == BATCH:
            self._wake.set()

    def _check_command(self, row: int) -> None:
        """Signatures of what could not be judged when it was handed in."""
        with self._store.write() as session:
            found = session.get(Command, row)
            role = self._relay.fit(session, found) if found is not None else None
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
                    message = self._relay.take(session, row)
                if message is None:
                    continue
                if self._stopping.is_set() or not self._publish(f"tg/{device}/down/cmd", message, False):
                    return  # the broker may have it all the same; if nobody answers it goes out again after the lease
                with self._store.write() as session:
                    commands.uplinked(session, row, "the broker")
                log.info("%s: command relayed", device)
