"""The address of a broker."""

from __future__ import annotations

import ssl
from urllib.parse import unquote, urlsplit

from tidegate.errors import TidegateError

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_URL_FORM = "Write it like mqtt://USER@HOST:PORT (mqtts:// for TLS)"


class BrokerUrl:
    """mqtt://user:password@host:port, or mqtts:// for TLS, verified by `context` or else by the system's authorities.

    Raises TidegateError for any other URL.
    """

    def __init__(self, url: str, default_password: str | None = None, context: ssl.SSLContext | None = None) -> None:
        try:
            parts = urlsplit(url)
            self.port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError as error:
            raise TidegateError(f"the broker address cannot be read: {error}", _URL_FORM) from None
        if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
            raise TidegateError("the broker address is not an MQTT address", _URL_FORM)
        self.tls = (context or ssl.create_default_context()) if parts.scheme == "mqtts" else None
        self.host = parts.hostname
        self.user = unquote(parts.username) if parts.username else None
        self.password = unquote(parts.password) if parts.password else default_password

    def __str__(self) -> str:
        """Without the password, so that it can be logged."""
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}"
