"""A device as the server sees one: a real MQTT client that says what docs/wire.cddl lets a device say."""

from __future__ import annotations

import threading
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from patience import limit

from tidegate.wire.cbor import dumps

NONCE = bytes(range(8))
WAIT_S = 30  # for what comes at once on a quiet machine
PHASES = {"offered": 1, "fetching": 2, "applying": 3, "installed": 4, "trial": 5, "confirmed": 6, "rolled-back": 7}


class Device:
    """Connects as `device_id` with its password, listens on its down/ topics, and has `online: false` as its will."""

    def __init__(self, device_id: str, password: str, port: int, *, listen: bool = True, client_id: str | None = None):
        self.id = device_id
        self.heard: list[tuple[str, bytes, bool]] = []
        self.refused: str | None = None
        self._news = threading.Condition()
        self._connected = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id or device_id)
        self.client.username_pw_set(device_id, password)
        self.client.will_set(f"tg/{device_id}/up/state", dumps({1: False}), qos=1, retain=True)
        self.client.on_connect = self._on_connect
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", port, keepalive=20)
        self.client.loop_start()
        self._connected.wait(limit(WAIT_S))
        if listen and self.refused is None:
            self.subscribe(f"tg/{device_id}/down/#")

    def subscribe(self, pattern: str) -> list[int]:
        """Returns the broker's codes: the granted QoS, or 128 for a refusal."""
        answered, codes = threading.Event(), []

        def on_subscribe(_client: Any, _data: Any, _mid: int, reasons: list[Any], _properties: Any) -> None:
            codes.extend(reason.value for reason in reasons)
            answered.set()

        self.client.on_subscribe = on_subscribe
        self.client.subscribe(pattern, qos=1)
        assert answered.wait(limit(WAIT_S))
        return codes

    def say(self, topic: str, message: Any, *, qos: int = 1, retain: bool = False) -> None:
        """Publish below up/; waits for the acknowledgement. Bytes go out as they are, all else as CBOR."""
        payload = message if isinstance(message, bytes) else dumps(message)
        self.client.publish(f"tg/{self.id}/up/{topic}", payload, qos=qos, retain=retain).wait_for_publish(limit(WAIT_S))

    def online(self) -> None:
        self.say("state", {1: True}, retain=True)

    def born(self, version: str = "1.0.0", sequence: int = 1, **other: Any) -> None:
        """State and birth, as after a connection."""
        facts = {
            1: 1,
            2: "unix",
            3: "tidegate-gateway",
            4: version,
            5: sequence,
            6: b"\x11" * 32,
            7: NONCE,
            8: "power-on",
            9: False,
            10: "1.25.0",
            11: 1,
            **{int(label[1:]): value for label, value in other.items()},
        }
        self.online()
        self.say("birth", facts, retain=True)

    def report(self, phase: int, sequence: int, state: int, result: int, verdict: Any = True, **other: Any) -> None:
        body = {2: NONCE, 4: verdict, -257: [state, result], -258: phase, -259: sequence}
        if "detail" in other:
            body[-260] = other["detail"]
        if "progress" in other:
            body[-261] = other["progress"]
        if "component" in other:
            body[-262] = other["component"]
        if "again" in other:
            body[-263] = other["again"]
        self.say("report", body)

    def wait_heard(self, topic: str, timeout_s: float = WAIT_S, count: int = 1) -> list[bytes]:
        """Payloads heard on tg/<id>/down/`topic`, once there are `count`."""
        wanted = f"tg/{self.id}/down/{topic}"

        def found() -> list[bytes]:
            return [payload for name, payload, _ in self.heard if name == wanted]

        with self._news:
            assert self._news.wait_for(lambda: len(found()) >= count, limit(timeout_s)), f"nothing on {wanted}"
            return found()

    def vanish(self) -> None:
        """The power goes: the connection ends without goodbye."""
        self.client.loop_stop()
        if self.client.socket() is not None:
            self.client.socket().close()

    def leave(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self.refused = str(reason)
            self.client.disconnect()
        elif self._connected.is_set():  # back after the broker was away: a clean session forgot what it listened to
            self.client.subscribe(f"tg/{self.id}/down/#", qos=1)
        self._connected.set()

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        with self._news:
            self.heard.append((message.topic, message.payload, message.retain))
            self._news.notify_all()
