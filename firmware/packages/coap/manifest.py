# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(
    description="Asyncio CoAP client: blocks, observe and Echo in bounded memory",
    version="0.1.0",
)

module("coap.py", base_path="../../lib")
module("coap_block.py", base_path="../../lib")
module("coap_exchange.py", base_path="../../lib")
module("coap_message.py", base_path="../../lib")
module("coap_observe.py", base_path="../../lib")
module("coap_peer.py", base_path="../../lib")
module("coap_udp.py", base_path="../../lib")
