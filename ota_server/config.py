"""What a server is configured with at its start, and its limits."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL

MAX_PAYLOAD = 4 << 20  # bytes; the largest slot of a supported board is below
MAX_PAYLOAD_STORE = 4 << 30  # bytes of all payloads together
MAX_JSON_BODY = 1 << 20  # a release of 64 boards with 2 KiB envelopes, in base64, is a fifth of this
MAX_ENVELOPE = 2048  # docs/wire.cddl
MAX_COMMAND = 1024  # docs/wire.cddl
MAX_PAGE = 500  # rows in one answer
DEFAULT_PAGE = 50

KEEP_TELEMETRY = 20_000  # values of a device
KEEP_TELEMETRY_DAYS = 90.0  # both are only defaults: `tidegate serve --keep-days`, `--keep-rows`
KEEP_REPORTS = 1_000
KEEP_ALARMS = 500
KEEP_COMMANDS = 500
KEEP_EVENTS = 500  # boots, offers, silences and gaps

DATABASE_URL = "TIDEGATE_DATABASE_URL"  # an environment variable, since it contains a password


@dataclass(frozen=True)
class Config:
    """Everything is below `data` unless said otherwise."""

    data: Path
    database_url: str = ""
    trust: Path | None = None  # trust store; default data/trust.cbor
    max_payload: int = MAX_PAYLOAD
    max_payload_store: int = MAX_PAYLOAD_STORE
    keep_days: float = KEEP_TELEMETRY_DAYS
    keep_rows: int = KEEP_TELEMETRY
    mosquitto_dir: Path | None = None  # where password and access files of an outside broker are updated
    payload_store: str = ""  # a shared folder, or s3://bucket/prefix; default data/payloads
    payload_redirect: str = ""  # where clients are sent for payloads: an address of the store's root, or "signed"
    dynamic: bool = False  # that broker is mosquitto with its dynamic security plugin, which this server manages

    def __post_init__(self) -> None:
        # Flask takes a relative path as one below its own package, everything else as one below the working folder.
        object.__setattr__(self, "data", self.data.absolute())

    @property
    def database(self) -> str | URL:
        """Its address. Not as text where it is our own file: a folder's name may have any character."""
        given = self.database_url or os.environ.get(DATABASE_URL)
        return given or URL.create("sqlite", database=str(self.data / "tidegate.db"))

    @property
    def payloads(self) -> Path:
        """The folder of payloads, unless `payload_store` names another place."""
        return self.data / "payloads"

    @property
    def trust_file(self) -> Path:
        return self.trust or self.data / "trust.cbor"

    @property
    def admin_token(self) -> Path:
        return self.data / "admin.token"

    @property
    def broker_password(self) -> Path:
        return self.data / "broker.password"

    @property
    def coap_secret(self) -> Path:
        """The secret from which, with a salt from the database, each device's CoAP key is derived."""
        return self.data / "coap.secret"

    @property
    def addresses(self) -> Path:
        """Where a running server writes the real addresses that it listens on."""
        return self.data / "serve.json"
