"""One client's session: its subscriptions and the messages on their way to it, all bounded."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from ota_server.broker import codec
from ota_server.broker.access import Principal
from ota_server.broker.codec import Message
from ota_server.broker.topics import matches

WINDOW = 16  # QoS 1 messages sent and not yet acknowledged
MAX_QUEUED = 256  # messages waiting for a device
MAX_QUEUED_INTERNAL = 4096  # and for the server itself, which reads all devices
PUBLISHER_WAIT_S = 10  # how long a publisher waits for the server to make room before its message is dropped
MAX_SUBSCRIPTIONS = 32


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
        self._inflight: dict[int, Message] = {}
        self._resend: deque[int] = deque()
        self._number = 0
        self._limit = MAX_QUEUED_INTERNAL if principal.internal else MAX_QUEUED

    def granted(self, topic: str) -> int | None:
        """The QoS at which this session subscribed to the topic, or None; the highest when filters overlap (3.3.5)."""
        return max((qos for pattern, qos in self.subscriptions.items() if matches(pattern, topic)), default=None)

    async def put(self, message: Message) -> None:
        """Queue a message. A full device queue drops it and counts; a full server queue makes the publisher wait."""
        if len(self._queue) >= self._limit and self.principal.internal:
            self._room.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._room.wait(), PUBLISHER_WAIT_S)
        if len(self._queue) >= self._limit:
            self.dropped += 1
            return
        self._queue.append(message)
        self.wake.set()

    def next_packet(self) -> bytes | None:
        """The next PUBLISH to write, or None while there is nothing or the window is full."""
        if self._resend:
            number = self._resend.popleft()
            return codec.encode_publish(self._inflight[number], number, dup=True)
        if not self._queue or (self._queue[0].qos and len(self._inflight) >= WINDOW):
            return None
        message = self._queue.popleft()
        self._room.set()
        if not message.qos:
            return codec.encode_publish(message, None)
        number = self._next_number()
        self._inflight[number] = message
        return codec.encode_publish(message, number)

    @property
    def waiting(self) -> bool:
        """Whether a message is still on its way to the client."""
        return bool(self._queue or self._inflight)

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
