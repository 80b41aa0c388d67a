# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(
    description="Asyncio MQTT 3.1.1 client, QoS 0 and 1, on any network interface",
    version="0.3.0",
)

add_library("tidegate", "..")
require("aiotcp", library="tidegate")

package(
    "mqtt",
    (
        "__init__.py",
        "large.py",
        "messages.py",
        "packet.py",
        "reasons.py",
        "requests.py",
        "session.py",
    ),
    base_path="../../lib",
)
