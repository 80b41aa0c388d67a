"""What a board has to say and the broker has not acknowledged yet: in order, and again after each new connection."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

from tidegate.simulate.figures import Figures
from tidegate.simulate.mqtt import Link

WINDOW = 8  # messages on the way at once
MOST = 256  # messages that wait; then the oldest telemetry is dropped, as from a board's ring
TELEMETRY = "telemetry"


@dataclass
class Message:
    """kind: how it is counted; done: set when the broker has acknowledged it."""

    kind: str
    topic: bytes
    payload: bytes
    retain: bool = False
    done: asyncio.Event | None = None
    again: bool = False  # it was on its way when the connection ended
    sent_at: float = field(default=0.0, compare=False)


class Outbox:
    """Messages of one board. They leave through `link` while there is one."""

    def __init__(self, figures: Figures) -> None:
        self.link: Link | None = None
        self._figures = figures
        self._waiting: deque[Message] = deque()
        self._sent: dict[int, Message] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._sent)

    def add(self, message: Message) -> None:
        if len(self._waiting) >= MOST:
            self._make_room()
        self._waiting.append(message)
        self.flush()

    def first(self, *messages: Message) -> None:
        """Before all others: what is said at each connection."""
        self._waiting.extendleft(reversed(messages))
        self.flush()

    def flush(self) -> None:
        """Send as much as may be on the way."""
        link = self.link
        while self._waiting and link is not None and link.open and len(self._sent) < WINDOW:
            message = self._waiting.popleft()
            message.sent_at = time.monotonic()
            self._sent[link.publish(message.topic, message.payload, message.retain, message.again)] = message
            self._figures.counts[f"{message.kind} sent"] += 1

    def acknowledged(self, number: int) -> Message | None:
        """The broker has it; the message, None if it was not one of these."""
        message = self._sent.pop(number, None)
        if message is not None:
            self._figures.counts[f"{message.kind} acknowledged"] += 1
            self._figures.took(f"{message.kind} acknowledged", time.monotonic() - message.sent_at)
            if message.done is not None:
                message.done.set()
        self.flush()
        return message

    def unlink(self) -> None:
        """The connection has ended: what was on the way is sent again, except what each connection begins with."""
        self.link = None
        again = [message for message in self._sent.values() if not message.retain]
        for message in again:
            message.again = True
        self._sent.clear()
        kept = [message for message in self._waiting if not message.retain]
        self._waiting = deque([*again, *kept])

    def forget(self) -> None:
        """A reset: what a board has in RAM only, its telemetry, is gone; reports are on its flash."""
        before = len(self._waiting)
        self._waiting = deque(message for message in self._waiting if message.kind != TELEMETRY)
        self._figures.counts["telemetry dropped"] += before - len(self._waiting)

    def _make_room(self) -> None:
        for message in self._waiting:
            if message.kind == TELEMETRY:
                self._waiting.remove(message)
                self._figures.counts["telemetry dropped"] += 1
                return
