"""The address of a broker, or the addresses of the nodes of one."""

from __future__ import annotations

import re
import ssl
from urllib.parse import unquote, urlsplit

from tidegate.errors import TidegateError

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_URL_FORM = "Write it like mqtt://USER@HOST:PORT (mqtts:// for TLS), the nodes of a cluster HOST:PORT,HOST:PORT"
_NODES = 16


class BrokerUrl:
    """mqtt://user:password@host:port, or mqtts:// for TLS, verified by `context` or else by the system's authorities.

    A cluster's nodes follow each other with commas, host:port,host:port; one user is known to all of them.
    Raises TidegateError for any other URL.
    """

    def __init__(self, url: str, default_password: str | None = None, context: ssl.SSLContext | None = None) -> None:
        # Several nodes are no URL to urlsplit, which since 2024 looks at what stands around brackets.
        scheme, _, rest = url.partition("://")
        scheme, place = scheme.lower(), re.split("[/?#]", rest, maxsplit=1)[0]
        account, at, hosts = place.rpartition("@")
        try:
            first = urlsplit(f"//{account}{at}broker")
            nodes = [urlsplit(f"//{host}") for host in hosts.split(",", _NODES)]
            self.addresses = [(node.hostname or "", node.port or _PORTS.get(scheme, 0)) for node in nodes]
        except ValueError as error:
            raise TidegateError(f"the broker address cannot be read: {error}", _URL_FORM) from None
        names = all(host for host, _ in self.addresses) and len(nodes) <= _NODES
        if scheme not in _PORTS or not names or rest.removeprefix(place).strip("/"):
            raise TidegateError("the broker address is not an MQTT address", _URL_FORM)
        self.tls = (context or ssl.create_default_context()) if scheme == "mqtts" else None
        self.user = unquote(first.username) if first.username else None
        self.password = unquote(first.password) if first.password else default_password

    def __str__(self) -> str:
        """Without the password, so that it can be logged."""
        nodes = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.addresses)
        return f"mqtt{'s' if self.tls else ''}://{','.join(nodes)}"
