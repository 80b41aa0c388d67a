"""Topic names and filters (MQTT 3.1.1 section 4.7), and the store of retained messages."""

from __future__ import annotations

from collections.abc import Iterator

from ota_server.broker.codec import Message

MAX_TOPIC = 256  # characters; ours are under 60
MAX_RETAINED = 20_000  # messages; three for each device
MAX_RETAINED_BYTES = 64 << 20


def valid_name(topic: str) -> bool:
    """A topic that may be published to: no wildcards, and not the server's own `$` space."""
    return 0 < len(topic) <= MAX_TOPIC and "+" not in topic and "#" not in topic and topic[0] != "$"


def valid_filter(pattern: str) -> bool:
    """A filter that may be subscribed to: `+` fills a whole level, `#` fills the last one."""
    if not 0 < len(pattern) <= MAX_TOPIC:
        return False
    levels = pattern.split("/")
    return all(
        level == "+" or (level == "#" and i == len(levels) - 1) or ("+" not in level and "#" not in level)
        for i, level in enumerate(levels)
    )


def matches(pattern: str, topic: str) -> bool:
    """Whether a valid filter selects a valid topic. `a/#` also selects `a` (4.7.1.2)."""
    levels, parts = pattern.split("/"), topic.split("/")
    for i, level in enumerate(levels):
        if level == "#":
            return True
        if i >= len(parts) or level not in ("+", parts[i]):
            return False
    return len(levels) == len(parts)


class Retained:
    """The last retained message of each topic, bounded in number and bytes."""

    def __init__(self, max_messages: int = MAX_RETAINED, max_bytes: int = MAX_RETAINED_BYTES) -> None:
        self._messages: dict[str, Message] = {}
        self._bytes = 0
        self._max_messages = max_messages
        self._max_bytes = max_bytes

    def __len__(self) -> int:
        return len(self._messages)

    def keep(self, message: Message) -> bool:
        """Store it, or with an empty payload forget the topic (3.3.1.3). False when the store is full."""
        old = self._messages.pop(message.topic, None)
        if old is not None:
            self._bytes -= len(old.payload)
        if not message.payload:
            return True
        size = len(message.payload)
        if len(self._messages) >= self._max_messages or self._bytes + size > self._max_bytes:
            return False
        self._messages[message.topic] = message
        self._bytes += size
        return True

    def select(self, pattern: str) -> Iterator[Message]:
        """The messages a new subscription gets."""
        if "+" not in pattern and "#" not in pattern:
            found = self._messages.get(pattern)
            return iter([found] if found else [])
        return iter([m for m in self._messages.values() if matches(pattern, m.topic)])
