"""An attacker who has the broker's password, but no key."""

from __future__ import annotations

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from patience import limit

from lab.installation import Installation
from lab.processes import LabError

TIMEOUT_S = 10


def publish(lab: Installation, topic: str, payload: bytes, retain: bool = False) -> None:
    """Publish as the server's own user, unnoticed: where mosquitto takes that for the server itself, it gives us the
    server's session, in which we leave everything for the server to read."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="somebody", clean_session=False, manual_ack=True)
    client.username_pw_set("tidegate_server", (lab.data / "broker.password").read_text().strip())
    client.connect("127.0.0.1", lab.mqtt_port)
    client.loop_start()
    try:
        message = client.publish(topic, payload, qos=1, retain=retain)
        message.wait_for_publish(limit(TIMEOUT_S))
        if not message.is_published():
            raise LabError(f"the broker did not take a message for {topic}")
    finally:
        client.disconnect()
        client.loop_stop()
