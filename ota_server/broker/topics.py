"""Topic names and filters (MQTT 3.1.1 section 4.7), and the store of retained messages."""

from __future__ import annotations

from collections.abc import Iterator

from ota_server.broker.codec import Message

MAX_TOPIC = 256  # characters; ours are under 60
MAX_LEVELS = 16  # ours have five
MAX_RETAINED = 40_000  # messages; for each device its birth, its state and what the server offers it
MAX_RETAINED_BYTES = 128 << 20
MAX_DEVICE_RETAINED = 32  # messages that one device has the broker keep; ours have two
MAX_DEVICE_RETAINED_BYTES = 128 << 10
LEVEL_COST = 300  # bytes that one level of a topic takes in the tree


def valid_name(topic: str) -> bool:
    """A topic that may be published to: no wildcards, and not the server's own `$` space."""
    wild = "+" in topic or "#" in topic
    return 0 < len(topic) <= MAX_TOPIC and not wild and topic[0] != "$" and topic.count("/") < MAX_LEVELS


def valid_filter(pattern: str) -> bool:
    """A filter that may be subscribed to: `+` fills a whole level, `#` fills the last one."""
    if not 0 < len(pattern) <= MAX_TOPIC or pattern.count("/") >= MAX_LEVELS:
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


class _Node:
    """One level of a topic: what is below it, and the message of the topic that ends here."""

    __slots__ = ("below", "message")

    def __init__(self) -> None:
        self.below: dict[str, _Node] = {}
        self.message: Message | None = None


class _Share:
    """What the messages of one owner take."""

    __slots__ = ("count", "size")

    def __init__(self) -> None:
        self.count = self.size = 0

    def has_room(self, size: int, max_count: int, max_size: int) -> bool:
        return self.count < max_count and self.size + size <= max_size

    def change(self, count: int, size: int) -> None:
        self.count += count
        self.size += size


class Retained:
    """The last retained message of each topic, as a tree of levels, bounded in number and bytes.

    What devices publish (below `tg/<device>/up/`) has at most half of both bounds, and each device has a small share
    of that. So no device takes the room of another's, nor that of the server's offers.
    """

    def __init__(self, max_messages: int = MAX_RETAINED, max_bytes: int = MAX_RETAINED_BYTES) -> None:
        self._root = _Node()
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._all = _Share()
        self._up = _Share()
        self._devices: dict[str, _Share] = {}

    def __len__(self) -> int:
        return self._all.count

    def get(self, topic: str) -> Message | None:
        """The retained message of this topic."""
        node = self._root
        for level in topic.split("/"):
            found = node.below.get(level)
            if found is None:
                return None
            node = found
        return node.message

    def keep(self, message: Message) -> bool:
        """Store it, or with an empty payload forget the topic (3.3.1.3).

        Returns False, and leaves the topic as it was, where the store or the device's share is full.
        """
        old = self.get(message.topic)
        if old is None and not message.payload:
            return True
        device = _publisher(message.topic)
        growth = _cost(message) - (_cost(old) if old else 0)
        more = bool(message.payload) - (old is not None)
        if more > 0 or growth > 0:
            shares = [(self._all, self._max_messages, self._max_bytes)]
            if device is not None:
                shares.append((self._up, self._max_messages // 2, self._max_bytes // 2))
                shares.append((self._devices.get(device, _Share()), MAX_DEVICE_RETAINED, MAX_DEVICE_RETAINED_BYTES))
            if not all(share.has_room(growth, count + (more <= 0), size) for share, count, size in shares):
                return False
        if message.payload:
            self._put(message)
        else:
            growth = -_cost(old) if old else 0
            self._remove(message.topic)
        self._all.change(more, growth)
        if device is not None:
            self._up.change(more, growth)
            own = self._devices.setdefault(device, _Share())
            own.change(more, growth)
            if not own.count:
                del self._devices[device]
        return True

    def select(self, pattern: str) -> Iterator[Message]:
        """The messages a new subscription gets. Takes time for what the filter selects, not for all there are."""
        nodes = [self._root]
        levels = pattern.split("/")
        for level in levels:
            if level == "#":
                return _messages(nodes)
            if level == "+":
                nodes = [below for node in nodes for below in node.below.values()]
            else:
                nodes = [node.below[level] for node in nodes if level in node.below]
        return iter([node.message for node in nodes if node.message is not None])

    def _put(self, message: Message) -> None:
        node = self._root
        for level in message.topic.split("/"):
            node = node.below.setdefault(level, _Node())
        node.message = message

    def _remove(self, topic: str) -> None:
        path, node = [], self._root
        for level in topic.split("/"):
            path.append((node, level))
            node = node.below[level]
        node.message = None
        for above, level in reversed(path):  # levels that lead nowhere go with it
            if above.below[level].below or above.below[level].message is not None:
                return
            del above.below[level]


def _messages(nodes: list[_Node]) -> Iterator[Message]:
    """What is at these levels and below; `a/#` selects `a`, too (4.7.1.2)."""
    left = list(reversed(nodes))
    while left:
        node = left.pop()
        if node.message is not None:
            yield node.message
        left.extend(reversed(node.below.values()))


def _cost(message: Message) -> int:
    """Bytes of memory, about: a level of a short name takes far more than its characters."""
    return len(message.payload) + len(message.topic) + LEVEL_COST * (message.topic.count("/") + 1)


def _publisher(topic: str) -> str | None:
    """The device that published it, by its topic; None for what the server publishes."""
    root, _, rest = topic.partition("/")
    device, _, rest = rest.partition("/")
    return device if root == "tg" and rest.startswith("up/") else None
