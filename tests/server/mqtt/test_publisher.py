"""What the publisher does while there is no broker."""

from __future__ import annotations

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from ota_server.mqtt.publisher import Outgoing, Publisher


def test_without_a_connection_nothing_is_taken_and_nothing_breaks() -> None:
    """The next command of a device whose last one found no connection was an error, and held up all others."""
    publisher = Publisher(paho.Client(CallbackAPIVersion.VERSION2), "nobody")
    for payload in (b"first", b"second", b"second"):
        messages = [Outgoing("tg/gw-1/down/cmd", payload, False), Outgoing("tg/gw-1/down/offer", payload, True)]
        assert publisher.publish(messages) == [False, False]
