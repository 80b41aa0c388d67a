"""The server's MQTT client: subscribes to all devices, hands their messages to `ingest`, publishes for `outbox`."""

from __future__ import annotations

import hashlib
import logging
import ssl
import threading
import time
from typing import Any
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from ota_server.commands.policy import Relay
from ota_server.mqtt.downlink import Outbox
from ota_server.store import Store, alarms, devices
from ota_server.store.retention import Keep
from ota_server.uplink import ingest
from tidegate.errors import TidegateError

log = logging.getLogger("tidegate.mqtt")

SUBSCRIPTION = "tg/+/up/#"
KEEPALIVE_S = 30
RECONNECT_MIN_S, RECONNECT_MAX_S = 1, 30
MAX_INFLIGHT = 100
MAX_QUEUED = 1000
ACK_TIMEOUT_S = 10
FILE_AGAIN_S = (0.1, 0.5, 2.0, 5.0)  # pauses before a message that the database refused is tried again
LOG_EVERY_S = 10  # the same failure again and again is one line in this time
_PORTS = {"mqtt": 1883, "mqtts": 8883}


class BrokerUrl:
    """mqtt://user:password@host:port, or mqtts:// for TLS as `context` says; else with the system's authorities."""

    def __init__(self, url: str, default_password: str | None = None, context: ssl.SSLContext | None = None) -> None:
        try:
            parts = urlsplit(url)
            self.port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError as error:
            raise TidegateError(f"the broker address cannot be read: {error}", _URL_FORM) from None
        if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
            raise TidegateError("the broker address is not an MQTT address", _URL_FORM)
        self.tls = (context or ssl.create_default_context()) if parts.scheme == "mqtts" else None
        self.host = parts.hostname
        self.user = unquote(parts.username) if parts.username else None
        self.password = unquote(parts.password) if parts.password else default_password

    def __str__(self) -> str:
        """Without the password, so that it can be logged."""
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}"


_URL_FORM = "Write it like mqtt://USER@HOST:PORT (mqtts:// for TLS)"


def client_id(password: str, purpose: str = "server") -> str:
    """This server's own, always the same; nobody else can know it, and so nobody can take its session over."""
    return f"tidegate-{purpose}-" + hashlib.sha256(b"client id " + password.encode()).hexdigest()[:16]


class MqttWorker:
    """Keeps a connection to the broker for ever; losing it loses nothing that the database knows."""

    def __init__(
        self,
        store: Store,
        broker: BrokerUrl,
        wake: threading.Event,
        client_id: str,
        relay: Relay,
        keep: Keep = Keep(),  # noqa: B008
    ) -> None:
        """client_id: the same at each start. The broker then keeps what devices say while we are away, which it has
        acknowledged to them."""
        self._store = store
        self._broker = broker
        self._wake = wake
        self._quiet_until = 0.0
        self._leaving = threading.Event()
        self._lost = 0  # messages the database would not take
        self._subscribed = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=False,
            reconnect_on_failure=True,
        )
        self._client.username_pw_set(broker.user, broker.password)
        if broker.tls:
            self._client.tls_set_context(broker.tls)
        self._client.reconnect_delay_set(RECONNECT_MIN_S, RECONNECT_MAX_S)
        self._client.max_inflight_messages_set(MAX_INFLIGHT)
        self._client.max_queued_messages_set(MAX_QUEUED)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._outbox = Outbox(store, wake, self._publish, self._subscribed.is_set, keep, relay)

    def start(self) -> None:
        """Begin; an unreachable broker is tried again and again, with a growing pause."""
        self._client.connect_async(self._broker.host, self._broker.port, KEEPALIVE_S)
        self._client.loop_start()
        self._outbox.start()

    def stop(self) -> None:
        self._leaving.set()
        self._outbox.stop()
        self._client.disconnect()
        self._client.loop_stop()

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until the subscription stands."""
        return self._subscribed.wait(timeout_s)

    def _publish(self, topic: str, payload: bytes, retain: bool) -> bool:
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        try:
            info.wait_for_publish(ACK_TIMEOUT_S)
            return info.is_published()
        except (RuntimeError, ValueError):  # not connected, or paho's queue is full
            return False

    def _on_connect(self, client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._complain("the broker at %s refuses this server: %s; check user and password", self._broker, reason)
            return
        log.info("connected to %s", self._broker)
        try:
            with self._store.write() as session:
                devices.all_offline(session)
        except Exception:
            log.exception("could not mark the devices offline")
        client.subscribe(SUBSCRIPTION, qos=1)

    def _on_subscribe(self, client: paho.Client, _data: Any, _mid: int, reasons: list[Any], _properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._complain("the broker at %s does not let this server read %s", self._broker, SUBSCRIPTION)
            return
        self._subscribed.set()
        self._wake.set()

    def _on_disconnect(self, _client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._subscribed.clear()
        if self._leaving.is_set():
            return
        self._complain("the connection to %s is gone (%s); connecting again", self._broker, reason)

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        """Runs in paho's thread: while it files a message no other is read, so a flood waits in the broker, not here.

        paho acknowledges a QoS 1 message when this returns, that is after it is in the database.
        """
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        if not self._file(ingest.Message(topic, bytes(message.payload), message.retain)):
            return
        if topic.endswith(("/birth", "/state", "/result")):
            self._wake.set()  # someone is there now, or has room now, for whom something may wait

    def _file(self, message: ingest.Message) -> bool:
        """Whether the database has it now. A full or locked one gets some time; meanwhile the broker keeps the rest."""
        for pause_s in (*FILE_AGAIN_S, None):
            try:
                ingest.take(self._store, message)
                if self._lost:
                    with self._store.write() as session:
                        alarms.count(session, "messages the database did not take", self._lost)
                    self._lost = 0
                return True
            except Exception:  # the database's trouble: the connection must outlive it
                if self._loud():
                    log.exception("a message on %s could not be filed", message.topic)
                if pause_s is None or self._leaving.wait(pause_s):
                    break
        self._lost += 1
        return False

    def _complain(self, text: str, *args: Any) -> None:
        if self._loud():
            log.warning(text, *args)

    def _loud(self) -> bool:
        now = time.monotonic()
        if now < self._quiet_until:
            return False
        self._quiet_until = now + LOG_EVERY_S
        return True
