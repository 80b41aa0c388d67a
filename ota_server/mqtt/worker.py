"""The server's MQTT client: subscribes to all devices, hands their messages to `filing`, publishes for `downlink`."""

from __future__ import annotations

import logging
import threading
from typing import Any

import paho.mqtt.client as paho

from ota_server.commands.policy import CommandPolicy
from ota_server.errors import log_trouble
from ota_server.log_lines import Seldom
from ota_server.mqtt import client
from ota_server.mqtt.acknowledging import Connection, Owed
from ota_server.mqtt.admission import lets_in_twice
from ota_server.mqtt.downlink import Downlink
from ota_server.mqtt.filing import Filer, Waiting
from ota_server.mqtt.mosquitto_files import Reload
from ota_server.mqtt.publisher import Publisher
from ota_server.mqtt.publishes import Arrived
from ota_server.mqtt.url import BrokerUrl
from ota_server.roles import Share
from ota_server.store import Store, devices
from ota_server.uplink import ingest

log = logging.getLogger("tidegate.mqtt")

SUBSCRIPTION = "tg/+/up/#"


class MqttWorker:
    """Holds a connection to the broker, and connects again whenever it is lost; the database loses nothing by that."""

    def __init__(
        self,
        store: Store,
        broker: BrokerUrl,
        wake: threading.Event,
        client_id: str,
        policy: CommandPolicy | None,
        filer: Filer | None = None,
        reload: Reload | None = None,
        share: Share = Share(),  # noqa: B008 - it cannot be changed
        *,
        alone: bool = True,
    ) -> None:
        """Make a worker that is not connected yet.

        policy: decides on commands; without one the worker publishes nothing. filer: takes what devices publish;
        without one the worker only publishes. reload: hears when a connection stands and when it has ended.
        share: the devices whose messages are filed here. alone: no other process uses the server's user; otherwise
        nothing is taken from a broker that lets it in only once.

        client_id: the same at each start, so that the broker stores what devices publish while this server is
        away, and has acknowledged to them.
        """
        self._store = store
        self._broker = broker
        self._wake = wake
        self._may_log = Seldom()
        self._stopping = threading.Event()
        self._subscribed = threading.Event()
        self._filer = filer
        self._reload = reload
        self._share = share
        self._admission = None if alone else threading.Thread(target=self._be_admitted, name="admission", daemon=True)
        self._client = client.make(broker, client_id, clean_session=filer is None, take=self._take)
        self._connection = Connection(self._client)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect
        publish = Publisher(self._client, broker).publish
        self._downlink: Downlink | None = None
        if policy is not None:
            self._downlink = Downlink(store, wake, publish, self._subscribed.is_set, policy)

    def start(self) -> None:
        """Begin; an unreachable broker is tried again and again, with a growing pause."""
        if self._admission is not None:
            self._admission.start()
        else:
            self._begin()

    def _be_admitted(self) -> None:
        """Begin once the broker is known to let several processes in."""
        pause_s = client.RECONNECT_MIN_S
        while not self._stopping.is_set():
            try:
                if lets_in_twice(self._broker):
                    self._begin()
                    return
                self._warn(
                    "the broker at %s lets the server's user in only once, so that roles apart would take messages "
                    "from each other; nothing is filed. mosquitto needs its dynamic security plugin for them: "
                    "tidegate mosquitto DIR --dynamic",
                    self._broker,
                )
            except OSError as error:
                self._warn("the broker at %s cannot be asked: %s; trying again", self._broker, error)
            self._stopping.wait(pause_s)
            pause_s = min(2 * pause_s, client.RECONNECT_MAX_S)

    def _begin(self) -> None:
        self._client.connect_async(*self._broker.addresses[0], keepalive=client.KEEPALIVE_S)
        if self._filer is not None:
            self._filer.start()
        self._client.loop_start()
        if self._downlink is not None:
            self._downlink.start()

    def stop(self) -> None:
        """Publish nothing more, file what has come, and leave."""
        self._stopping.set()
        if self._admission is not None:
            self._admission.join()
        if self._downlink is not None:
            self._downlink.stop()
        if self._filer is not None:
            self._filer.stop()
        self._client.disconnect()
        self._client.loop_stop()

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until the connection and the subscription stand."""
        return self._subscribed.wait(timeout_s)

    def _on_connect(self, client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._warn("the broker at %s refuses this server: %s; check user and password", self._broker, reason)
            return
        log.info("connected to %s at %s:%d", self._broker, client.host, client.port)
        self._connection.is_over = True
        self._connection = Connection(client)
        if self._filer is None:
            self._ready()
            return
        try:
            with self._store.write() as session:
                devices.all_offline(session, self._share.has if self._share.of > 1 else None)
        except Exception as error:
            log_trouble(log, error, "could not mark the devices offline")
        client.subscribe(SUBSCRIPTION, qos=1)

    def _on_subscribe(self, client: paho.Client, _data: Any, _mid: int, reasons: list[Any], _properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._warn("the broker at %s does not let this server read %s", self._broker, SUBSCRIPTION)
            return
        self._ready()

    def _ready(self) -> None:
        if self._reload is not None:
            self._reload.connected()
        self._subscribed.set()
        self._wake.set()

    def _on_disconnect(self, _client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._subscribed.clear()
        if self._reload is not None:
            self._reload.gone()
        if self._stopping.is_set():
            return
        self._warn("the connection to %s is gone (%s); connecting again", self._broker, reason)

    def _take(self, arrived: list[Arrived]) -> None:
        """Runs in paho's thread, which must be back at its keepalive soon."""
        connection, waiting, others = self._connection, [], []
        for message in arrived:
            topic = str(message.topic, "utf-8", "replace")
            if self._filer is not None and self._share.has(device_of(topic)):
                filed = ingest.Message(topic, message.payload, message.retained, again=message.again)
                waiting.append(Waiting(filed, Owed(connection, message.number) if message.number else None))
            elif message.number:  # another process has it, in a session of its own
                others.append(message.number)
        if self._filer is not None:
            self._filer.put_all(waiting)
        if others:
            connection.acknowledge(others)

    def _warn(self, text: str, *args: Any) -> None:
        if self._may_log():
            log.warning(text, *args)


def device_of(topic: str) -> str:
    """The id in tg/<id>/up/…; "" in any other topic."""
    return (topic.split("/", 2) + [""])[1]
