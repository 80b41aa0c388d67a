"""Files what devices publish, in a thread of its own and in batches, and only then acknowledges it to the broker.

Whoever receives the messages does nothing but hand them over, so its keepalive goes on however long the database takes.
What the database cannot take now, because it is locked, full or away, waits, and is not acknowledged: the broker then
sends no more than its window, and has the devices keep the rest.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ota_server import meters
from ota_server.errors import Problem, log_trouble, of_storage
from ota_server.store import Store, alarms
from ota_server.store.telemetry_rows import REMEMBERED
from ota_server.uplink import ingest

log = logging.getLogger("tidegate.mqtt")

MAX_BATCH = 500  # messages in one transaction
# and of one topic. A server that is killed between commit and acknowledgement gets a batch again, or two where the
# broker had not read what acknowledged the one before: all packs of a stream among them must still be known.
MAX_OF_TOPIC = REMEMBERED // 2
GATHER_S = 0.05  # at most so often a transaction is begun for less than that
QUIET_S = 0.01  # and without a new message for so long, at once
MAX_WAITING = 1000  # messages of QoS 0; of QoS 1 the broker sends no more than it has acknowledged
ROOM_TIMEOUT_S = 5  # how long the client's thread waits for room, well below its keepalive
AGAIN_S = (0.1, 0.5, 2.0, 5.0)  # pauses before a batch is tried again; the last one is repeated
POISON_PAUSE_S = 0.1  # before a message that failed alone is tried a second and last time
STOP_TIMEOUT_S = 10


class Waiting(NamedTuple):
    """A message that is not filed yet. acknowledge: None at QoS 0."""

    message: ingest.Message
    acknowledge: Callable[[], None] | None


def acknowledge_each(batch: Sequence[Waiting]) -> None:
    for waiting in batch:
        if waiting.acknowledge is not None:
            waiting.acknowledge()


def wakes(messages: Sequence[ingest.Message]) -> bool:
    """Whether someone is there now, or has room now, for whom something may wait."""
    return any(message.topic.endswith(("/birth", "/state", "/result")) for message in messages)


class Filer:
    """A queue and the thread that empties it.

    filed: called with the messages of each batch that the database has now. acknowledge: called with the batch after
    that, to do what each message's own `acknowledge` does.
    """

    def __init__(
        self,
        store: Store,
        filed: Callable[[Sequence[ingest.Message]], None],
        acknowledge: Callable[[Sequence[Waiting]], None] = acknowledge_each,
    ) -> None:
        self._store = store
        self._filed = filed
        self._acknowledge = acknowledge
        self._queue: deque[Waiting] = deque()
        self._arrived: deque[float] = deque()  # when each of them came
        meters.watch_queue(lambda: len(self._queue))
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._lost = 0  # messages of QoS 0 that found no room, since the database last took one
        self._outage: _Outage | None = None
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
        """Take a message, as `put_all` does."""
        self.put_all([waiting])

    def put_all(self, messages: Sequence[Waiting]) -> None:
        """Take messages in their order. Those of QoS 0 that find no room for a while are lost, and counted."""
        now = time.monotonic()
        with self._changed:
            for waiting in messages:
                if waiting.acknowledge is None and not self._wait_room(now + ROOM_TIMEOUT_S):
                    self._lost += 1
                    continue
                self._queue.append(waiting)
                self._arrived.append(now)
                if len(self._queue) in (1, MAX_BATCH):
                    self._changed.notify_all()

    def _wait_room(self, end: float) -> bool:
        """Whether there is room, by then, for a message that its broker does not hold."""
        rest_s = max(0.0, end - time.monotonic())
        return len(self._queue) < MAX_WAITING or self._changed.wait_for(lambda: len(self._queue) < MAX_WAITING, rest_s)

    def _run(self) -> None:
        began = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._stopping.is_set())
                self._gather(began + GATHER_S)
                batch = self._next()
                arrived = [self._arrived.popleft() for _ in batch]
                self._changed.notify_all()
            began = time.monotonic()
            if not batch or not self._file(batch):
                return  # what is not acknowledged the broker sends again after the next start
            meters.filed_after(time.monotonic() - arrived[0])

    def _next(self) -> list[Waiting]:
        """The messages that are filed together now, in their order; called with the lock held."""
        batch: list[Waiting] = []
        of_topic: dict[str, int] = {}
        while self._queue and len(batch) < MAX_BATCH:
            topic = self._queue[0].message.topic
            count = of_topic[topic] = of_topic.get(topic, 0) + 1
            if count > MAX_OF_TOPIC:
                break
            batch.append(self._queue.popleft())
        return batch

    def _gather(self, end: float) -> None:
        """Wait for more until `end`, unless none comes for a while: a broker with a small window sends no more."""
        before = -1
        while before < len(self._queue) < MAX_BATCH and not self._stopping.is_set():
            rest_s = end - time.monotonic()
            if rest_s <= 0:
                return
            before = len(self._queue)
            self._changed.wait(min(QUIET_S, rest_s))

    def _file(self, batch: Sequence[Waiting]) -> bool:
        """File a batch, by halves if something in it cannot be filed. False: the server stops first."""
        while (error := self._attempt(batch)) is not None:
            trouble = of_storage(error)
            if trouble is not None:
                if not self._wait(error, trouble):
                    return False
            elif len(batch) > 1:
                half = len(batch) // 2
                return self._file(batch[:half]) and self._file(batch[half:])
            else:
                return self._file_alone(batch[0])
        return True

    def _file_alone(self, waiting: Waiting) -> bool:
        """A message that failed for a reason of its own is tried once more, and then set aside, which is filed."""
        self._stopping.wait(POISON_PAUSE_S)
        error = self._attempt([waiting])
        while error is not None:
            trouble = of_storage(error)
            if trouble is None:
                log_trouble(log, error, "a message on %s could not be filed", waiting.message.topic)
                error = self._attempt([waiting], set_aside=True)
                if error is None or of_storage(error) is None:
                    return True
            elif not self._wait(error, trouble):
                return False
            else:
                error = self._attempt([waiting])
        return True

    def _attempt(self, batch: Sequence[Waiting], *, set_aside: bool = False) -> Exception | None:
        """File a batch and acknowledge it, or say why the database has nothing of it."""
        try:
            if set_aside:
                ingest.set_aside(self._store, batch[0].message)
            else:
                ingest.take_all(self._store, [waiting.message for waiting in batch])
        except Exception as error:  # whatever it is, the messages behind it must not wait for ever
            return error
        self._acknowledge(batch)
        self._filed([waiting.message for waiting in batch])
        self._account()
        return None

    def _account(self) -> None:
        """The database takes messages: have it count what happened while it did not."""
        if self._outage is None and not self._lost:
            return
        lost, self._lost = self._lost, 0
        outage, self._outage = self._outage, None
        if outage is not None:
            log.warning("the database takes messages again, after %.0f s", outage.lasted_s())
        try:
            with self._store.write() as session:
                if lost:
                    alarms.count(session, "messages the database did not take", lost)
                if outage is not None:
                    alarms.count(session, "times the database took no messages")
        except Exception as error:
            self._lost += lost
            log_trouble(log, error, "could not count what the database did not take")

    def _wait(self, error: Exception, trouble: Problem) -> bool:
        """Pause while the database is in trouble; False if the server stops."""
        if self._outage is None:
            self._outage = _Outage()
            log_trouble(log, error, "the database takes no messages; they wait, and none is lost")
        return not self._stopping.wait(self._outage.pause_s())


class _Outage:
    """A time in which the database took nothing."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._tries = 0

    def pause_s(self) -> float:
        """How long to wait before the next try."""
        self._tries += 1
        return AGAIN_S[min(self._tries, len(AGAIN_S)) - 1]

    def lasted_s(self) -> float:
        return time.monotonic() - self._began
