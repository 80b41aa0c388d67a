# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(
    description="Asyncio CoAP server: blocks, observe and Echo in bounded memory",
    version="0.2.0",
)

add_library("tidegate", "..")
require("coap-core", library="tidegate")

package(
    "coap",
    ("assembly.py", "core.py", "echo.py", "listener.py", "notify.py", "resource.py", "server.py"),
    base_path="../../lib",
)
