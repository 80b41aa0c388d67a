"""Files what devices publish, in a thread of its own, and only then acknowledges it to the broker.

The MQTT client's thread does nothing but read, so its keepalive goes on however long the database takes. What the
database cannot take now, because it is locked, full or away, waits, and is not acknowledged: the broker then sends no
more than its window, and has the devices keep the rest.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ota_server.errors import log_trouble, of_storage
from ota_server.log_lines import Seldom
from ota_server.store import Store, alarms
from ota_server.uplink import ingest

log = logging.getLogger("tidegate.mqtt")

MAX_WAITING = 1000  # messages of QoS 0; of QoS 1 the broker sends no more than it has acknowledged
ROOM_TIMEOUT_S = 5  # how long the client's thread waits for room, well below its keepalive
AGAIN_S = (0.1, 0.5, 2.0, 5.0)  # pauses before a message is tried again; the last one is repeated
STOP_TIMEOUT_S = 10


class Waiting(NamedTuple):
    """A message that is not filed yet. acknowledge: None at QoS 0."""

    message: ingest.Message
    acknowledge: Callable[[], object] | None


class Filer:
    """A queue and the thread that empties it. filed: called with each message that the database has now."""

    def __init__(self, store: Store, filed: Callable[[ingest.Message], None]) -> None:
        self._store = store
        self._filed = filed
        self._queue: deque[Waiting] = deque()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._lost = 0  # since the database last took a message
        self._may_log = Seldom()
        self._thread = threading.Thread(target=self._run, name="filing", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """File what is here, unless the database is in trouble, and end the thread."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)

    def put(self, waiting: Waiting) -> None:
        """Take a message. One of QoS 0 is lost, and counted, if there is no room for it for a while."""
        with self._changed:
            may_be_lost = waiting.acknowledge is None
            if may_be_lost and not self._changed.wait_for(lambda: len(self._queue) < MAX_WAITING, ROOM_TIMEOUT_S):
                self._lost += 1
                return
            self._queue.append(waiting)
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._stopping.is_set())
                if not self._queue:
                    return
                waiting = self._queue.popleft()
                self._changed.notify_all()
            if not self._file(waiting.message):
                if self._stopping.is_set():
                    return  # what is not acknowledged the broker sends again after the next start
                self._lost += 1
            if waiting.acknowledge is not None:
                waiting.acknowledge()

    def _file(self, message: ingest.Message) -> bool:
        """Whether the database has it now. Tries for as long as the database is in trouble; a few times otherwise."""
        for attempt in range(1 << 30):
            try:
                ingest.take(self._store, message)
                self._count_lost()
                self._filed(message)
                return True
            except Exception as error:  # whatever it is, the next message must not wait for ever
                trouble = of_storage(error)
                if self._may_log():
                    log_trouble(log, error, "a message on %s could not be filed", message.topic)
                if trouble is None and attempt >= len(AGAIN_S):
                    return False
                if self._stopping.wait(AGAIN_S[min(attempt, len(AGAIN_S) - 1)]):
                    return False
        return False

    def _count_lost(self) -> None:
        if self._lost:
            with self._store.write() as session:
                alarms.count(session, "messages the database did not take", self._lost)
            self._lost = 0
