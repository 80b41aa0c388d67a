"""Credentials that are derived, not stored: MQTT passwords, CoAP keys, the secrets of claims and of webhooks.

The database has a random salt or id for each, a file of the server one secret; only both together give a key, so that
neither a copy of the database nor the file alone is worth anything.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from pathlib import Path

from sqlalchemy.orm import Session

from ota_server.store.models import CoapSession
from tidegate import enrolment
from tidegate.errors import TidegateError
from tidegate.files import read_limited, write_atomic

KEY = 32  # bytes, of the server's secret and of each device's key
SALT = 16  # bytes
_PASSWORD = 24  # bytes before base64
_FOR_DEVICE = b"tidegate coap device 1\0"
_FOR_BROKER = b"tidegate mqtt device 1\0"
_FOR_ECHO = b"tidegate coap echo 1"
_FOR_CLAIM = b"tidegate claim 1\0"
_FOR_WEBHOOK = b"tidegate webhook 1\0"


class Keys:
    """Derives keys from the server's secret in `file`, which is made at the first start."""

    def __init__(self, file: Path) -> None:
        if not file.exists():
            write_atomic(file, secrets.token_hex(KEY).encode() + b"\n", mode=0o600)
        try:
            self._secret = bytes.fromhex(read_limited(file, 256, "CoAP secret").decode("ascii", "replace"))
        except ValueError:
            self._secret = b""
        if len(self._secret) != KEY:
            raise TidegateError(
                f"{file} does not hold {KEY} bytes in hex",
                "Restore it from a backup; without it every device needs new credentials",
            )

    def of_device(self, device_id: str, salt: bytes) -> bytes:
        return _derived(self._secret, _FOR_DEVICE + device_id.encode() + b"\0" + salt)

    def of_session(self, row: CoapSession) -> bytes:
        """The device's key: one that we gave it, or one that it derived itself when it enrolled."""
        if row.claim_id is None:
            return self.of_device(row.device_id, row.salt)
        return enrolment.coap_key(self.of_claim(row.claim_id), row.salt)

    def mqtt_password(self, row: CoapSession) -> str:
        """The device's password at the broker: one that we gave it, or one that it derived itself when it enrolled.

        A device that was registered before passwords were derived has another one: compare this with its hash.
        """
        if row.claim_id is not None:
            return enrolment.mqtt_password(self.of_claim(row.claim_id), row.salt)
        derived = _derived(self._secret, _FOR_BROKER + row.device_id.encode() + b"\0" + row.salt)
        return base64.urlsafe_b64encode(derived[:_PASSWORD]).decode()

    def of_claim(self, claim_id: str) -> bytes:
        """The secret of the claim with this id (hex)."""
        return _derived(self._secret, _FOR_CLAIM + claim_id.encode())

    def of_webhook(self, salt: bytes) -> bytes:
        """What signs the messages of the webhook with this salt."""
        return _derived(self._secret, _FOR_WEBHOOK + salt)

    def for_echo(self) -> bytes:
        return _derived(self._secret, _FOR_ECHO)

    def issue(
        self, session: Session, device_id: str, claim_id: str | None = None, salt: bytes | None = None
    ) -> tuple[bytes, str]:
        """Make a new CoAP key and broker password for the device; the old key and its session become void.

        claim_id, salt: of the claim that the device derives them from itself.
        """
        row = session.get(CoapSession, device_id)
        if row is None:
            row = CoapSession(device_id=device_id)
            session.add(row)
        row.salt, row.echo, row.counter, row.window = salt or secrets.token_bytes(SALT), None, -1, 0
        row.claim_id = claim_id
        return self.of_session(row), self.mqtt_password(row)


def _derived(secret: bytes, what: bytes) -> bytes:
    return hmac.digest(secret, what, hashlib.sha256)
