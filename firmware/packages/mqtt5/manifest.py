# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(description="MQTT 5 for the package mqtt", version="0.3.0")

add_library("tidegate", "..")
require("mqtt", library="tidegate")

package("mqtt", ("v5.py",), base_path="../../lib")
