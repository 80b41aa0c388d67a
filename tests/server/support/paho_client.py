"""An MQTT client, by paho, that keeps what it hears."""

from __future__ import annotations

import threading

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from patience import limit


class Client:
    def __init__(
        self,
        port: int,
        user: str,
        password: str | None = None,
        *,
        client_id: str = "",
        clean: bool = True,
        will=None,
        keepalive: int = 30,
        subscribe: str | None = None,
    ):
        self.heard: list[tuple[str, bytes, int, bool]] = []
        self.code: int | None = None
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id or user, clean_session=clean, reconnect_on_failure=False
        )
        self.client.username_pw_set(user, user[::-1] if password is None else password)
        if will:
            self.client.will_set(*will)
        done = threading.Event()
        self.present = False

        def connected(_client, _data, flags, reason, _properties):
            self.code, self.present = reason.value, flags.session_present
            done.set()

        self.client.on_connect = connected
        self.client.on_message = lambda _c, _d, m: self.heard.append((m.topic, m.payload, m.qos, m.retain))
        self.client.connect("127.0.0.1", port, keepalive)
        self.client.loop_start()
        assert done.wait(30)
        self.codes = self.subscribe(subscribe) if subscribe else []

    def subscribe(self, pattern: str, qos: int = 1) -> list[int]:
        answered, codes = threading.Event(), []
        self.client.on_subscribe = lambda _c, _d, _m, reasons, _p: (
            codes.extend(r.value for r in reasons),
            answered.set(),
        )
        self.client.subscribe(pattern, qos)
        assert answered.wait(limit(30))
        return codes

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos, retain).wait_for_publish(30)

    def cut(self) -> None:
        """The line is cut: no DISCONNECT."""
        self.client.loop_stop()
        self.client.socket().close()

    def leave(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
