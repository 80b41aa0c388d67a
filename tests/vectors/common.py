"""What the vector makers share: fixed keys that protect nothing, and the device that the vectors are for."""

from __future__ import annotations

import hashlib
from typing import Any

from tidegate import manifest
from tidegate.trust import keys, store


def seed(name: str) -> bytes:
    return hashlib.sha256(b"tidegate test key, worth nothing: " + name.encode()).digest()


RELEASE = keys.from_seed("release", seed("release"))
RELEASE_2 = keys.from_seed("release", seed("release 2"))
COMMAND = keys.from_seed("command", seed("command"))
ROOT = keys.from_seed("root", seed("root"))
STRANGER = keys.from_seed("release", seed("stranger"))
STRANGE_COMMAND = keys.from_seed("command", seed("strange command"))

STORE = store.make([RELEASE, RELEASE_2, COMMAND, ROOT], version=3)

DEVICE, PRODUCT, VENDOR, BOARD = "gate-7", "tidegate-gateway", "tidegate.example", "qemu_mps2"
VENDOR_ID = manifest.vendor_id(VENDOR)
CLASS_ID = manifest.class_id(VENDOR_ID, PRODUCT, BOARD)
NONCE = bytes.fromhex("6e6f6e6365212121")


def digest(name: str) -> bytes:
    """A digest that stands for the payload `name`."""
    return hashlib.sha256(name.encode()).digest()


def key_facts() -> dict[str, Any]:
    named = {
        "release": RELEASE,
        "release_2": RELEASE_2,
        "command": COMMAND,
        "root": ROOT,
        "stranger": STRANGER,
        "strange_command": STRANGE_COMMAND,
    }
    return {
        name: {"role": key.role, "seed": (key.private or b"").hex(), "public": key.public.hex(), "kid": key.kid.hex()}
        for name, key in named.items()
    }
