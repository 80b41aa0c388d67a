# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(
    description="Asyncio CoAP client and server: blocks, observe and Echo in bounded memory",
    version="0.1.0",
)

module("coap/__init__.py", base_path="../../lib")
module("coap/assembly.py", base_path="../../lib")
module("coap/block.py", base_path="../../lib")
module("coap/client.py", base_path="../../lib")
module("coap/core.py", base_path="../../lib")
module("coap/echo.py", base_path="../../lib")
module("coap/exchange.py", base_path="../../lib")
module("coap/listener.py", base_path="../../lib")
module("coap/message.py", base_path="../../lib")
module("coap/notify.py", base_path="../../lib")
module("coap/observe.py", base_path="../../lib")
module("coap/peer.py", base_path="../../lib")
module("coap/reader.py", base_path="../../lib")
module("coap/resource.py", base_path="../../lib")
module("coap/server.py", base_path="../../lib")
module("coap/udp.py", base_path="../../lib")
