"""The server's CoAP side (docs/coap-uplink.md): what devices say comes in by POST, what they should hear goes out by
GET and observe, payloads by GET. The messages are those of docs/wire.cddl, filed by the code that files MQTT's."""

from .keys import Keys
from .server import CoapServer

__all__ = ["CoapServer", "Keys"]
