"""The server's CoAP side (docs/coap-uplink.md): what devices say comes in by POST, what they should hear goes out by
GET and observe, payloads by GET. The messages are those of docs/wire.cddl, filed by the code that files MQTT's."""

from ota_server.coap.server import CoapServer
from ota_server.security.credentials import Keys

__all__ = ["CoapServer", "Keys"]
