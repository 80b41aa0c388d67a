"""Whether a broker lets the server's user in more than once, which several processes need.

A broker that takes the user's name for the client's id, as mosquitto does with password files, gives all of them one
session. They would take it from each other without end, and each would acknowledge, or wipe out, what is another's.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

import paho.mqtt.client as paho

from ota_server.mqtt import client
from ota_server.mqtt.url import BrokerUrl

_TIMEOUT_S = 10.0


def lets_in_twice(broker: BrokerUrl) -> bool:
    """Opens two sessions, and says whether they are two. Raises OSError if no node of the broker can be reached.

    Sessions that are stored tell it: where the second one is there already, it is the first one, or that of another
    process, and is left as it is. Otherwise both are removed again.
    """
    trouble = OSError(f"the broker at {broker} has no address")
    for node in broker.addresses:
        try:
            return _ask(broker, node)
        except OSError as error:
            trouble = error
    raise trouble


def _ask(broker: BrokerUrl, node: tuple[str, int]) -> bool:
    ids = [f"tidegate-admission-{secrets.token_hex(8)}" for _ in range(2)]
    with _Session(broker, node, ids[0], clean=False), _Session(broker, node, ids[1], clean=False) as second:
        if second.was_there:
            return False
    for name in ids:
        with _Session(broker, node, name, clean=True):
            pass
    return True


class _Session:
    """A connection while the context lasts; `was_there`: the broker had stored its session."""

    was_there = False

    def __init__(self, broker: BrokerUrl, node: tuple[str, int], name: str, *, clean: bool) -> None:
        self._broker = broker
        self._node = node
        self._answer: Any = None
        self._client = client.make(broker, name, clean_session=clean)
        self._client.addresses = [node]
        self._client.on_connect = self._on_connect

    def __enter__(self) -> _Session:
        self._client.connect(*self._node, keepalive=client.KEEPALIVE_S)
        end = time.monotonic() + _TIMEOUT_S
        while self._answer is None:
            goes_on = self._client.loop(0.1) is paho.MQTTErrorCode.MQTT_ERR_SUCCESS and time.monotonic() < end
            if self._answer is None and not goes_on:
                raise OSError(f"the broker at {self._broker} does not answer")
        if self._answer.is_failure:
            raise OSError(f"the broker at {self._broker} refuses this server: {self._answer}")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop(0.1)

    def _on_connect(self, _client: paho.Client, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        self.was_there = flags.session_present
        self._answer = reason
