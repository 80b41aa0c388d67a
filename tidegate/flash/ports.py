"""Serial ports by the names that mpremote gives them, and which of them are boards on USB."""

from __future__ import annotations

import re
from collections.abc import Iterable

import serial.tools.list_ports

from tidegate.errors import TidegateError

AUTO = "auto"
_SHORTCUT = re.compile(r"([auc])(\d+)\Z")
_DEVICES = {"a": "/dev/ttyACM", "u": "/dev/ttyUSB", "c": "COM"}


class PortError(TidegateError):
    """There is no such port, or the name fits several."""


def resolve(name: str) -> str:
    """A port as mpremote takes it (a0, u1, c3, id:SERIAL, port:PATH, a path, an rfc2217: URL) as a path or URL."""
    shortcut = _SHORTCUT.match(name)
    if shortcut:
        return _DEVICES[shortcut[1]] + shortcut[2]
    if name.startswith("id:"):
        for port in sorted(serial.tools.list_ports.comports()):
            if port.serial_number == name[3:]:
                return str(port.device)
        raise PortError(f"no board with serial number {name[3:]}", "`mpremote connect list` shows what is there")
    return name.removeprefix("port:")


def on_usb() -> list[str]:
    """The serial ports that are USB devices, which is where mpremote looks for boards, too."""
    ports = sorted(serial.tools.list_ports.comports())
    return [str(port.device) for port in ports if port.vid is not None and port.pid is not None]


def named(names: Iterable[str]) -> list[str]:
    """The ports behind several names, each once: two names of one port would flash it twice at a time."""
    found: list[str] = []
    for name in names:
        port = resolve(name)
        if port in found:
            raise PortError(f"{name} and another name given are one port, {port}", "Name each board once")
        found.append(port)
    return found
