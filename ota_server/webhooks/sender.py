"""Sends what waits for webhooks, in threads of its own: nobody else ever waits for a receiver.

Each webhook has at most one thread, while there is something to send to it: a slow receiver delays itself only.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ota_server.errors import log_trouble
from ota_server.repeated import Repeated
from ota_server.store import Store, now_ms, webhooks
from ota_server.webhooks import signature
from ota_server.webhooks.post import post

log = logging.getLogger("tidegate.webhooks")

LOOK_S = 1.0
BOUND_S = 30.0  # between looks at the length of logs
PAUSE_S = 0.02  # between two messages: others write, too
STOP_S = 3.0
_WORDS = {"User-Agent": "tidegate"}


class Sender(Repeated):
    """`secret_of` gives a webhook's secret from its salt. It starts anew when this process gets the right to send."""

    def __init__(self, store: Store, secret_of: Callable[[bytes], bytes]) -> None:
        super().__init__("webhooks", log, "webhooks wait", every_s=LOOK_S, stop_s=STOP_S)
        self._store = store
        self._secret_of = secret_of
        self._busy: dict[int, threading.Thread] = {}
        self._bound_at = 0.0

    def stop(self) -> None:
        """A try that is under way may not be noted any more: it is made again once its claim has run out."""
        end = time.monotonic() + STOP_S
        super().stop()
        for thread in self._busy.values():
            thread.join(max(0.0, end - time.monotonic()))

    def once(self, stopping: threading.Event) -> None:
        with self._store.read() as session:
            due = webhooks.due(session, now_ms())
        self._busy = {number: thread for number, thread in self._busy.items() if thread.is_alive()}
        for number in due:
            if number not in self._busy:
                name, args = f"webhook-{number}", (number, stopping)
                thread = threading.Thread(target=self._serve, args=args, name=name, daemon=True)
                self._busy[number] = thread
                thread.start()
        if due:
            self._bound(stopping)

    def _bound(self, stopping: threading.Event) -> None:
        """Only what there is to send makes queues and logs longer."""
        if time.monotonic() < self._bound_at:
            return
        dropped = gone = 1
        while (dropped or gone) and not stopping.wait(PAUSE_S):
            with self._store.write() as session:
                dropped, gone = webhooks.drop(session), webhooks.prune(session)
            if dropped:
                log.warning("%d messages to webhooks are dropped: too many wait", dropped)
        self._bound_at = time.monotonic() + BOUND_S

    def _serve(self, number: int, stopping: threading.Event) -> None:
        try:
            while not stopping.wait(PAUSE_S) and self.send_one(number):
                pass
        except Exception as error:
            log_trouble(log, error, "webhook %d waits", number)

    def send_one(self, number: int) -> bool:
        """One try of one message to this webhook; whether there was one to send."""
        with self._store.write() as session:
            tried = webhooks.claim(session, number, now_ms())
        if tried is None:
            return False
        body = tried.body.encode()
        signed = signature.headers(self._secret_of(tried.salt), tried.message, int(time.time()), body)
        status, why = post(tried.url, {**_WORDS, **signed}, body, private=tried.private)
        with self._store.write() as session:
            state = webhooks.note(session, tried, status, why, now_ms())
        if state == "given-up":
            log.warning("webhook %d: message %s is given up after %d tries: %s", number, tried.id, tried.number, why)
        return True
