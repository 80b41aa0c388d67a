"""Where messages may be sent: so that a webhook is no way into the networks that the server stands in.

An address must be https, or http to this machine. What its name stands for is looked up at each try, checked, and that
very address is connected to: a name that means something else a moment later gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import NamedTuple
from urllib.parse import urlsplit

from tidegate.errors import TidegateError

MAX_URL = 512
_LOCAL = ("localhost", "127.0.0.1", "::1")
# These carry an IPv4 address that some gateway would connect to: NAT64, 6to4, Teredo.
_TUNNELS = tuple(ipaddress.IPv6Network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Target(NamedTuple):
    """The parts of a checked URL. path: with the query. local: this machine, in plain HTTP."""

    host: str
    port: int
    path: str
    local: bool

    @property
    def origin(self) -> str:
        """What may be shown: the rest of a URL is often a secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.local else 'https'}://{host}:{self.port}"


def parse(url: str, *, private: bool) -> Target:
    """Check a URL. Raises TidegateError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _wrong("it is not a URL") from None
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or set(' "<>\\^`{|}') & set(url):
        raise _wrong(f"it has more than {MAX_URL} characters, or such as a URL does not have")
    if parts.scheme not in ("https", "http") or not host or port == 0:
        raise _wrong("it is not https")
    local = parts.scheme == "http"
    if local and host not in _LOCAL:
        raise _wrong("http is allowed to this machine only (127.0.0.1, ::1, localhost)")
    if "@" in parts.netloc or "#" in url:
        raise _wrong("it has a user or a fragment")
    target = Target(
        host, port or (80 if local else 443), (parts.path or "/") + (f"?{parts.query}" * bool(parts.query)), local
    )
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        return target
    if not _allowed(literal, target, private):
        raise _wrong(_not_allowed(literal))
    return target


def resolve(target: Target, *, private: bool) -> list[str]:
    """The addresses behind its name, all of them allowed. Raises OSError, or TidegateError if one is not allowed."""
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for text in addresses:
        address = ipaddress.ip_address(text)
        if not _allowed(address, target, private):
            raise _wrong(_not_allowed(address))
    return addresses


def _allowed(address: IpAddress, target: Target, private: bool) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return _allowed(address.ipv4_mapped, target, private)
        if any(address in tunnel for tunnel in _TUNNELS):
            return False
    if target.local:
        return address.is_loopback
    if address.is_multicast or address.is_unspecified or address.is_link_local:
        return False
    return address.is_global or (private and (address.is_private or address.is_loopback))


def _not_allowed(address: IpAddress) -> str:
    return f"{address} is not a public address"


def _wrong(why: str) -> TidegateError:
    return TidegateError(
        f"the webhook's address cannot be used: {why}",
        "Write it like https://hooks.example/tidegate; --private allows one in a network of your own",
    )
