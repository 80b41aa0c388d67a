"""One client's session: its subscriptions and the messages on their way to it, all bounded."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable

from ota_server.broker import codec
from ota_server.broker.access import Principal
from ota_server.broker.codec import Message
from ota_server.broker.topics import matches

WINDOW = 16  # QoS 1 messages sent and not yet acknowledged
MAX_QUEUED = 256  # messages waiting for a device
MAX_QUEUED_INTERNAL = 4096  # and for the server itself, which reads all devices
PUBLISHER_WAIT_S = 10  # how long a publisher waits for the server to make room before its message is dropped
MAX_SUBSCRIPTIONS = 32
MAX_QOS2 = 64  # messages of QoS 2 received and not yet released


class Session:
    """Outlives its connection if the client requested that (3.1.2.4); else it ends with it."""

    def __init__(self, client_id: str, principal: Principal, clean: bool) -> None:
        self.client_id = client_id
        self.principal = principal
        self.clean = clean
        self.subscriptions: dict[str, int] = {}
        self.qos2_seen: set[int] = set()  # identifiers received and not yet released
        self.dropped = 0
        self.wake = asyncio.Event()  # something may be sendable
        self._room = asyncio.Event()
        self._queue: deque[Message] = deque()
        self._owed: dict[str, int] = {}  # topics whose retained message is still to be sent, and at which QoS
        self._retained: Callable[[str], Message | None] = lambda topic: None
        self._owed_next = False  # whose turn it is
        self._inflight: dict[int, Message] = {}
        self._resend: deque[int] = deque()
        self._number = 0
        self._limit = MAX_QUEUED_INTERNAL if principal.internal else MAX_QUEUED

    def granted(self, topic: str) -> int | None:
        """The QoS at which this session subscribed to the topic, or None; the highest when filters overlap (3.3.5)."""
        return max((qos for pattern, qos in self.subscriptions.items() if matches(pattern, topic)), default=None)

    async def put(self, message: Message, patiently: bool = True) -> bool:
        """Queue a message; returns False, and counts it, if there was no room.

        A full server queue makes the publisher wait for a while. A full device queue does not: nobody waits for one
        device.
        """
        end = time.monotonic() + PUBLISHER_WAIT_S
        while (
            len(self._queue) >= self._limit and self.principal.internal and patiently
        ):  # several publishers may wait for one place
            self._room.clear()
            try:
                await asyncio.wait_for(self._room.wait(), end - time.monotonic())
            except TimeoutError:
                break
        if len(self._queue) >= self._limit:
            self.dropped += 1
            return False
        self._queue.append(message)
        self.wake.set()
        return True

    def owe(self, topics: Iterable[str], qos: int, retained: Callable[[str], Message | None]) -> int:
        """Send the retained messages of these topics, as they are by then; returns how many topics there are.

        They take turns with the queue and do not fill it, however many they are: only their names wait.
        retained: gives the message of a topic, or None when there is none any more.
        """
        before = len(self._owed)
        for topic in topics:
            self._owed[topic] = max(qos, self._owed.get(topic, 0))
        self._retained = retained
        self.wake.set()
        return len(self._owed) - before

    def next_packet(self) -> bytes | None:
        """The next PUBLISH to write, or None while there is nothing or the window is full."""
        if self._resend:
            number = self._resend.popleft()
            if number not in self._inflight:  # acknowledged meanwhile
                return self.next_packet()
            return codec.encode_publish(self._inflight[number], number, dup=True)
        message = self._next_message()
        if message is None or not message.qos:
            return None if message is None else codec.encode_publish(message, None)
        number = self._next_number()
        self._inflight[number] = message
        return codec.encode_publish(message, number)

    def _next_message(self) -> Message | None:
        full = len(self._inflight) >= WINDOW
        self._owed_next = not self._owed_next
        if self._owed and not full and (self._owed_next or not self._queue):
            while self._owed:
                topic = next(iter(self._owed))
                qos = self._owed.pop(topic)
                message = self._retained(topic)
                if message is not None:
                    return message._replace(qos=min(qos, message.qos))
        if not self._queue or (self._queue[0].qos and full):
            return None
        self._room.set()
        return self._queue.popleft()

    @property
    def waiting(self) -> bool:
        """Whether a message is still on its way to the client."""
        return bool(self._queue or self._inflight or self._owed)

    def acknowledged(self, number: int) -> None:
        """PUBACK. An unknown number is ignored: it may answer a message of a connection before this one."""
        if self._inflight.pop(number, None) is not None:
            self.wake.set()

    def resume(self) -> None:
        """A new connection took over: what was not acknowledged goes out again, marked duplicate (4.4)."""
        self._resend = deque(self._inflight)
        self.wake.set()

    def _next_number(self) -> int:
        while True:
            self._number = self._number % 0xFFFF + 1
            if self._number not in self._inflight:
                return self._number
