# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(
    description="Asyncio MQTT 3.1.1 client, QoS 0 and 1, on any network interface", version="0.1.0"
)

module("aiotcp.py", base_path="../../lib")
module("mqtt.py", base_path="../../lib")
module("mqtt_packet.py", base_path="../../lib")
module("mqtt_session.py", base_path="../../lib")
