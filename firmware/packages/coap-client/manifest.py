# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(
    description="Asyncio CoAP client: blocks, observe and Echo in bounded memory",
    version="0.2.0",
)

add_library("tidegate", "..")
require("coap-core", library="tidegate")

package(
    "coap", ("block.py", "client.py", "observe.py", "peer.py", "reader.py"), base_path="../../lib"
)
