# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(
    description="Asyncio CoAP client and server: blocks, observe and Echo in bounded memory",
    version="0.2.0",
)

add_library("tidegate", "..")
require("coap-client", library="tidegate")
require("coap-server", library="tidegate")
