# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(
    description="Asyncio MQTT 3.1.1 and 5 client, QoS 0 and 1, on any network interface",
    version="0.2.0",
)

module("aiotcp.py", base_path="../../lib")
module("mqtt/__init__.py", base_path="../../lib")
module("mqtt/large.py", base_path="../../lib")
module("mqtt/packet.py", base_path="../../lib")
module("mqtt/reasons.py", base_path="../../lib")
module("mqtt/requests.py", base_path="../../lib")
module("mqtt/session.py", base_path="../../lib")
module("mqtt/v5.py", base_path="../../lib")
