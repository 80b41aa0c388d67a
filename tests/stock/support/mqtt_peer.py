"""A patient peer in the place of the broker: the board's first packet is all that it wants."""

from __future__ import annotations

import socket

from patience import limit


def wait_connect(broker: socket.socket, device: str, within_s: float) -> None:
    """A CONNECT packet that names the device."""
    peer, _ = broker.accept()
    with peer:
        peer.settimeout(limit(within_s))
        said = b""
        while device.encode() not in said:
            piece = peer.recv(4096)
            assert piece, f"it hung up after {said!r}"
            said += piece
    assert said[0] == 0x10 and b"MQTT" in said, "a CONNECT packet"
