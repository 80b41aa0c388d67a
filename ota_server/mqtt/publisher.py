"""Publishes to the broker in flights: many messages are on their way at once, and one wait is for all of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import paho.mqtt.client as paho

from ota_server.log_lines import Seldom

log = logging.getLogger("tidegate.mqtt")

FLIGHT = 500  # messages on their way at once
ACK_TIMEOUT_S = 10  # without any acknowledgement; then those that are missing count as not taken
_STUCK_S = 0.01  # how long one that was not acknowledged before is waited for again


class Outgoing(NamedTuple):
    topic: str
    payload: bytes
    retain: bool


Publish = Callable[[Sequence[Outgoing]], list[bool]]  # for each message, whether the broker has acknowledged it


class Publisher:
    """Publishes with a client whose loop somebody else runs, at QoS 1. Only one thread may use it.

    What is not acknowledged in time stays with paho, which sends it again at each connection. So there is at most one
    of each topic, and what nobody acknowledges neither takes paho's window nor holds up the others twice.
    """

    def __init__(self, client: paho.Client, broker: object) -> None:
        """`broker` names it in the log."""
        self._client = client
        self._broker = broker
        self._may_log = Seldom()
        self._unanswered: dict[str, tuple[bytes, paho.MQTTMessageInfo]] = {}  # by topic
        client.max_inflight_messages_set(FLIGHT)
        client.max_queued_messages_set(4 * FLIGHT)

    def publish(self, messages: Sequence[Outgoing]) -> list[bool]:
        """For each message, whether the broker has acknowledged it: one that has no room for a message does not."""
        flight = [self._send(message) for message in messages]
        done, end = [], time.monotonic() + ACK_TIMEOUT_S
        for message, (info, is_stuck) in zip(messages, flight, strict=True):
            published, waited = _wait(info, _STUCK_S if is_stuck else end - time.monotonic())
            if published and waited:
                end = time.monotonic() + ACK_TIMEOUT_S  # it goes on
            elif info is not None and not published:
                self._unanswered[message.topic] = (message.payload, info)
            done.append(published)
        if not all(done) and self._may_log():
            missing = messages[done.index(False)].topic
            log.warning("the broker at %s does not acknowledge %s; has it room?", self._broker, missing)
        return done

    def _send(self, message: Outgoing) -> tuple[paho.MQTTMessageInfo | None, bool]:
        """The message on its way, and whether it was so before; None for one that cannot go out now."""
        sent, info = self._unanswered.pop(message.topic, (b"", None))
        if info is not None and sent == message.payload:
            return info, True
        if info is not None and not message.retain and _is_on_its_way(info):
            self._unanswered[message.topic] = (sent, info)
            return None, False
        return self._client.publish(message.topic, message.payload, qos=1, retain=message.retain), False


def _is_on_its_way(info: paho.MQTTMessageInfo) -> bool:
    """Whether it may still be acknowledged; of what was published without a connection paho never says so."""
    try:
        return not info.is_published()
    except (RuntimeError, ValueError):
        return False


def _wait(info: paho.MQTTMessageInfo | None, patience_s: float) -> tuple[bool, bool]:
    """(whether it is acknowledged, whether that took a wait)."""
    if info is None:
        return False, False
    try:
        if info.is_published():
            return True, False
        info.wait_for_publish(max(patience_s, 0))
        return info.is_published(), True
    except (RuntimeError, ValueError):  # not connected, or paho's queue is full
        return False, True
