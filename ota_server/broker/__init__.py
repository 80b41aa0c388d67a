"""The broker in `tidegate serve`: MQTT 3.1.1 for a small fleet, with the access rule of docs/wire.cddl built in.

Larger installations point `--broker` at mosquitto or a cluster; the rest of the server works the same.
"""

from ota_server.broker.access import Access, Principal
from ota_server.broker.server import EmbeddedBroker

__all__ = ["Access", "EmbeddedBroker", "Principal"]
