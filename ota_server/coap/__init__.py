"""The server's CoAP side (docs/coap-uplink.md).

Uplink messages come in by POST; downlink messages go out by GET and observe, payloads by GET. The messages are those of
docs/wire.cddl, filed by the code that files MQTT's.
"""

from ota_server.coap.server import CoapServer

__all__ = ["CoapServer"]
