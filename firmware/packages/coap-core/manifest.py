# ruff: noqa: F821 - MicroPython gives a manifest its functions
metadata(description="Asyncio CoAP: the modules that client and server share", version="0.2.0")

package("coap", ("__init__.py", "exchange.py", "message.py", "udp.py"), base_path="../../lib")
