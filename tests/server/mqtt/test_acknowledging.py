"""A batch of acknowledgements in one write, as mosquitto takes it."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import programs
import pytest
from mosquitto_process import Mosquitto
from paho.mqtt.enums import CallbackAPIVersion
from patience import limit, until

from ota_server.mqtt.acknowledging import Connection, Owed, together
from ota_server.mqtt.filing import Waiting
from ota_server.uplink.ingest import Message

pytestmark = pytest.mark.broker
COUNT = 100  # five times what mosquitto sends without an acknowledgement


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    programs.require("mosquitto")
    text = "listener 1883 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 20\n"
    (tmp_path / "mosquitto.conf").write_text(text)
    made = Mosquitto(tmp_path)
    yield made
    made.stop()


class Receiver:
    """A client with a session of its own, which acknowledges nothing by itself."""

    def __init__(self, port: int) -> None:
        self.arrived: queue.Queue[Waiting] = queue.Queue()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="receiver", clean_session=False, manual_ack=True
        )
        self.connection = Connection(self._client)
        self.subscribed = False
        self._client.on_connect = lambda client, *_: client.subscribe("tg/+/up/#", 1)
        self._client.on_subscribe = lambda *_: setattr(self, "subscribed", True)
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        until("the subscription", lambda: self.subscribed, 30)

    def _take(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        said = Message(message.topic, message.payload, False, again=message.dup)
        self.arrived.put(Waiting(said, Owed(self.connection, message.mid)))

    def batch(self, most: int) -> list[Waiting]:
        return [self.arrived.get(timeout=limit(30)) for _ in range(most)]

    def leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_batches_make_room_for_what_comes_next(broker: Mosquitto) -> None:
    receiver = Receiver(broker.port)
    sender = paho.Client(CallbackAPIVersion.VERSION2, client_id="sender")
    sender.connect("127.0.0.1", broker.port)
    sender.loop_start()
    for number in range(COUNT):
        sender.publish("tg/gw-1/up/report", str(number), qos=1)
    heard: list[bytes] = []
    for size in (1, 9, 20, 20, 20, 20, 10):
        batch = receiver.batch(size)
        heard += [waiting.message.payload for waiting in batch]
        if size == 1:
            Owed(receiver.connection, batch[0].acknowledge.number)()  # one alone
        else:
            together(batch)
    assert heard == [str(number).encode() for number in range(COUNT)]
    receiver.leave()
    sender.disconnect()
    sender.loop_stop()
