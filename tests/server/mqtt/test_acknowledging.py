"""Messages as the server's client reads them, and a batch of acknowledgements in one write, as mosquitto takes it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import programs
import pytest
from mosquitto_process import Mosquitto
from paho.mqtt.enums import CallbackAPIVersion
from patience import limit, until

from ota_server.mqtt import client
from ota_server.mqtt.acknowledging import Connection, Owed, together
from ota_server.mqtt.filing import Waiting
from ota_server.mqtt.publishes import Arrived
from ota_server.mqtt.url import BrokerUrl
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
        broker = BrokerUrl(f"mqtt://receiver:x@127.0.0.1:{port}")
        self._client = client.make(broker, "receiver", clean_session=False, take=self._take)
        self.connection = Connection(self._client)
        self.subscribed = threading.Event()
        self._client.on_connect = lambda client, *_: client.subscribe("tg/+/up/#", 1)
        self._client.on_subscribe = lambda *_: self.subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self.subscribed.wait(limit(30)), "no subscription"

    def _take(self, arrived: list[Arrived]) -> None:
        for message in arrived:
            said = Message(str(message.topic, "utf-8"), message.payload, False, again=message.again)
            self.arrived.put(Waiting(said, Owed(self.connection, message.number)))

    def batch(self, most: int) -> list[Waiting]:
        return [self.arrived.get(timeout=limit(30)) for _ in range(most)]

    def leave(self, broker: Mosquitto) -> None:
        """Until mosquitto knows: it reads a packet of each connection in turn, so who connects again at once would find
        it behind, and what it has not read of the old connection is gone, acknowledgements too."""
        self._client.disconnect()
        self._client.loop_stop()
        until("mosquitto sees it leave", lambda: b"Client receiver disconnected" in _log(broker), 60)


def _log(broker: Mosquitto) -> bytes:
    return (broker.folder / "log").read_bytes()


class Sender:
    def __init__(self, port: int) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="sender")
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def send(self, text: str) -> None:
        self._client.publish("tg/gw-1/up/report", text, qos=1)

    def leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def sender(broker: Mosquitto) -> Iterator[Sender]:
    made = Sender(broker.port)
    yield made
    made.leave()


def test_batches_make_room_for_what_comes_next(broker: Mosquitto, sender: Sender) -> None:
    receiver = Receiver(broker.port)
    for number in range(COUNT):
        sender.send(str(number))
    heard: list[bytes] = []
    for size in (1, 9, 20, 20, 20, 20, 10):
        batch = receiver.batch(size)
        heard += [waiting.message.payload for waiting in batch]
        if size == 1:
            Owed(receiver.connection, batch[0].acknowledge.number)()  # one alone
        else:
            together(batch)
    assert heard == [str(number).encode() for number in range(COUNT)]
    receiver.leave(broker)

    second = Receiver(broker.port)
    sender.send("the next")
    next_ = second.batch(1)[0].message
    assert (next_.payload, next_.again) == (b"the next", False), "what was acknowledged came again"
    second.leave(broker)


def test_what_is_not_acknowledged_comes_again(broker: Mosquitto, sender: Sender) -> None:
    receiver = Receiver(broker.port)
    for number in range(5):
        sender.send(str(number))
    batch = receiver.batch(5)
    together(batch[:3])
    receiver.leave(broker)
    second = Receiver(broker.port)
    again = [(waiting.message.payload, waiting.message.again) for waiting in second.batch(2)]
    assert again == [(b"3", True), (b"4", True)]
    second.leave(broker)
