"""Where boards may connect through this machine: a board is not to reach whatever this machine reaches."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from tidegate import names
from tidegate.boards import board_settings
from tidegate.errors import TidegateError
from tidegate.flash import loader_files

MQTT_PORTS = (1883, 8883)
_WEB = {"http": 80, "https": 443}


class Allowed:
    """Pairs of host and port, as boards name them in their settings."""

    def __init__(self, places: Iterable[tuple[str, int]]):
        self.places = frozenset((host.lower(), port) for host, port in places)

    def allows(self, host: str, port: int) -> bool:
        return (host.lower(), port) in self.places

    def __str__(self) -> str:
        return ", ".join(f"{host}:{port}" for host, port in sorted(self.places))


def address(text: str) -> tuple[str, int]:
    """HOST:PORT, with an IPv6 address in brackets; TidegateError."""
    host, colon, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if (
        not colon
        or not names.HOST.fits(host)
        or not (port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536)
    ):
        raise TidegateError(f"{text!r} is not an address", "Give it as HOST:PORT, such as broker.example:8883")
    return host, int(port)


def of_server(url: str) -> list[tuple[str, int]]:
    """The server at this URL, and a broker beside it at MQTT's usual ports; TidegateError."""
    parts = urlsplit(url)
    try:
        port = parts.port or _WEB.get(parts.scheme, 0)
    except ValueError:
        port = 0
    if not parts.hostname or not port or parts.scheme not in _WEB:
        raise TidegateError(f"{url!r} is not a server's address", "Give it as http://HOST:PORT or https://HOST:PORT")
    return [(parts.hostname, number) for number in (port, *MQTT_PORTS)]


def of_config(path: Path) -> list[tuple[str, int]]:
    """The broker and servers in a board's settings, the file that `tidegate flash --config` takes; TidegateError."""
    try:
        config = loader_files.read_object(path, "config")
    except TidegateError as error:
        why = error.message.removeprefix(f"{path} ")
        raise TidegateError(
            f"{path} cannot be read: {why}", "Name the board's settings (`tidegate docs config`)"
        ) from error
    board_settings.check(path, config)
    if config.get("uplink", "mqtt") != "usb":
        raise TidegateError(f"{path}: the uplink of this board is not usb", 'Set "uplink": "usb" and flash it again')
    broker = config.get("mqtt", {})
    found = []
    if "host" in broker:
        found.append((str(broker["host"]), int(broker.get("port", 8883 if broker.get("tls") else 1883))))
    for key in ("payloads", "enrol"):
        parts = urlsplit(str(config.get(key, "")))
        if parts.hostname and parts.scheme in _WEB:
            found.append((parts.hostname, parts.port or _WEB[parts.scheme]))
    return found
