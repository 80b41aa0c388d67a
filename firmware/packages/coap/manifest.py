# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(
    description="Asyncio CoAP client and server: blocks, observe and Echo in bounded memory",
    version="0.1.0",
)

module("coap.py", base_path="../../lib")
module("coap_assembly.py", base_path="../../lib")
module("coap_block.py", base_path="../../lib")
module("coap_core.py", base_path="../../lib")
module("coap_echo.py", base_path="../../lib")
module("coap_exchange.py", base_path="../../lib")
module("coap_listener.py", base_path="../../lib")
module("coap_message.py", base_path="../../lib")
module("coap_notify.py", base_path="../../lib")
module("coap_observe.py", base_path="../../lib")
module("coap_peer.py", base_path="../../lib")
module("coap_reader.py", base_path="../../lib")
module("coap_resource.py", base_path="../../lib")
module("coap_server.py", base_path="../../lib")
module("coap_udp.py", base_path="../../lib")
