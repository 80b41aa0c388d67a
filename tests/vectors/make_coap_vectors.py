#!/usr/bin/env python3
"""Writes coap.json: what a device sends over CoAP and with what keys (docs/coap-uplink.md), by hashes and bytes alone.

python tests/vectors/make_coap_vectors.py            write it
python tests/vectors/make_coap_vectors.py --check    exit code 1 if the file is not what this would write
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
import sys
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parent / "coap.json"
DEVICE = "gate-7"
KEY = hashlib.sha256(b"tidegate test key, worth nothing: coap").digest()
ECHOES = (bytes.fromhex("019d8e2f4c00") + bytes(range(10)), bytes.fromhex("019d8e2f5000") + bytes(range(10, 20)))
# {1: true} and a pack of one record, numbered 1; the last is longer than 255 bytes, for its longer heads.
PACK = bytes.fromhex("81a4006174021721781c") + b"urn:dev:org:tidegate:gate-7:" + bytes.fromhex("39010001")
POSTS = (
    ("up/state", 0, b"\xa1\x01\xf5"),
    ("up/tele/env", 1, PACK),
    ("up/result", 0x01020304, b"\x40" * 300),
    ("up/alarm", 24, b""),
)
GETS = ("down/offer", "down/cmd", "down/trust", "down/offer/calibration")


def mac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()


def head(size: int) -> bytes:
    """Of a CBOR byte string."""
    if size < 24:
        return bytes((0x40 + size,))
    return b"\x58" + bytes((size,)) if size < 256 else b"\x59" + struct.pack(">H", size)


def post(session: bytes, path: str, counter: int, payload: bytes) -> dict[str, Any]:
    protected = bytes.fromhex("a201040644") + struct.pack(">I", counter)
    external = b"\x02" + path.encode()
    maced = b"\x84\x64MAC0\x49" + protected + head(len(external)) + external + head(len(payload)) + payload
    tag = mac(session, maced)[:8]
    body = b"\xd1\x84\x49" + protected + b"\xa0" + head(len(payload)) + payload + b"\x48" + tag
    facts = {"path": path, "counter": counter, "payload": payload, "maced": maced, "tag": tag, "body": body}
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in facts.items()}


def document() -> list[dict[str, Any]]:
    out = []
    for echo in ECHOES:
        session = mac(KEY, b"tidegate coap 1" + echo)
        posts = [post(session, f"tg/{DEVICE}/{topic}", counter, payload) for topic, counter, payload in POSTS]
        paths = [f"tg/{DEVICE}/{topic}" for topic in GETS]
        gets = [{"path": path, "query": "a=" + mac(session, b"\x01" + path.encode())[:8].hex()} for path in paths]
        entry = {"device": DEVICE, "coap_key": KEY.hex(), "echo": echo.hex(), "session_key": session.hex()}
        out.append({**entry, "posts": posts, "gets": gets})
    return out


def main() -> int:
    text = json.dumps(document(), indent=1) + "\n"
    if "--check" in sys.argv:
        return 0 if FILE.read_text() == text else 1
    FILE.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
