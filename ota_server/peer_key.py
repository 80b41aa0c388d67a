"""What limits count callers by."""

from __future__ import annotations

import ipaddress


def peer_key(address: str) -> str:
    """An IPv4 address, or the network of 64 bits that an IPv6 host chooses its own from."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((found, 64), strict=False))
