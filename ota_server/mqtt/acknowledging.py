"""Acknowledges to the broker what is filed, all of a batch in one write.

paho wakes its thread and writes to the socket for each acknowledgement: two system calls, and a segment to the broker,
for every message.
"""

from __future__ import annotations

from collections.abc import Sequence

import paho.mqtt.client as paho

from ota_server.mqtt.filing import Waiting

_PUBACK = 0x40


class Connection:
    """One connection to the broker. What an older one had, the broker sends again: it is not acknowledged there."""

    def __init__(self, client: paho.Client) -> None:
        self.is_over = False
        self._client = client

    def acknowledge(self, numbers: Sequence[int]) -> None:
        """Acknowledge messages of QoS 1 by their numbers."""
        if self.is_over:
            return
        packets = b"".join(b"\x40\x02" + number.to_bytes(2, "big") for number in numbers)
        # paho has no public way to queue bytes. It writes what is queued in order, and looks into none but PUBLISH and
        # DISCONNECT; a test holds it.
        self._client._packet_queue(_PUBACK, packets, 0, 1)


class Owed:
    """The acknowledgement of one message. Called, it is given alone."""

    __slots__ = ("connection", "number")

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection, self.number = connection, number

    def __call__(self) -> None:
        self.connection.acknowledge([self.number])


def together(batch: Sequence[Waiting]) -> None:
    """Acknowledge these messages; for a Filer."""
    by_connection: dict[Connection, list[int]] = {}
    for waiting in batch:
        if isinstance(waiting.acknowledge, Owed):
            by_connection.setdefault(waiting.acknowledge.connection, []).append(waiting.acknowledge.number)
        elif waiting.acknowledge is not None:
            waiting.acknowledge()
    for connection, numbers in by_connection.items():
        connection.acknowledge(numbers)
