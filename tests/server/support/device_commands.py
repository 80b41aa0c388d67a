"""Signed commands for devices, and how they are handed to a server."""

from __future__ import annotations

import base64
import time

from tidegate.commands import cwt


def signed(ring, device: str, counter: int, opcode: str = "info", **other) -> bytes:
    now = int(time.time())
    fields = {"issued": now, "expires": now + 60, **other}
    return cwt.make(ring.command, cwt.Command(device, opcode, {}, counter.to_bytes(8, "big"), **fields))


def send(server, device: str, message: bytes):
    body = {"command": base64.b64encode(message).decode()}
    return server.http.post(f"/api/v1/devices/{device}/commands", json=body)
