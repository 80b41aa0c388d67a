"""Signatures after the specification Standard Webhooks: receivers check them with its libraries."""

from __future__ import annotations

import base64
import hashlib
import hmac

PREFIX = "whsec_"


def shown(secret: bytes) -> str:
    """The secret as the receiver is given it."""
    return PREFIX + base64.b64encode(secret).decode()


def headers(secret: bytes, message: str, at_s: int, body: bytes) -> dict[str, str]:
    """message: its id; at_s: the time of this try, seconds since 1970."""
    signed = f"{message}.{at_s}.".encode() + body
    signature = base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
    return {"webhook-id": message, "webhook-timestamp": str(at_s), "webhook-signature": f"v1,{signature}"}
