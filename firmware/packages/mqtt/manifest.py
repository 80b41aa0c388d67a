# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(
    description="Asyncio MQTT 3.1.1 and 5 client, QoS 0 and 1, on any network interface",
    version="0.2.0",
)

module("aiotcp.py", base_path="../../lib")
module("mqtt.py", base_path="../../lib")
module("mqtt_large.py", base_path="../../lib")
module("mqtt_packet.py", base_path="../../lib")
module("mqtt_reasons.py", base_path="../../lib")
module("mqtt_requests.py", base_path="../../lib")
module("mqtt_session.py", base_path="../../lib")
module("mqtt_v5.py", base_path="../../lib")
