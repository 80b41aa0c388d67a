"""What systemd hears of a server: that it serves now (sd_notify(3)), so that `systemctl start` waits."""

from __future__ import annotations

import os
import socket


def ready() -> None:
    """Say so where a service manager listens; nothing happens elsewhere."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        try:
            to.connect("\0" + address[1:] if address[0] == "@" else address)
            to.send(b"READY=1")
        except OSError:  # it restarts the service then, and its log says why
            return
