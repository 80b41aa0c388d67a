"""The file that takes the credentials of many devices: theirs, and the request that gets a lost answer again."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tidegate import json_text
from tidegate.errors import TidegateError
from tidegate.files import read_limited, write_atomic

MAX_FILE = 64 << 20  # bytes
_KIND = "tidegate-credentials"


@dataclass(frozen=True)
class Credentials:
    """What one device logs in with. coap_key: hex."""

    user: str
    password: str = field(repr=False)
    coap_key: str = field(repr=False)


@dataclass
class CredentialsFile:
    """devices: by id. request: goes with each list that is sent (Server.add_devices)."""

    path: Path
    server: str
    request: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    devices: dict[str, Credentials] = field(default_factory=dict, repr=False)

    def add(self, found: Iterable[Credentials]) -> None:
        self.devices.update((one.user, one) for one in found)
        self.save()

    def save(self) -> None:
        """Write all of it, readable by its owner only; what was there stays until all is written."""
        head = {"kind": _KIND, "server": self.server, "request": self.request}
        lines = [f"{json.dumps(name)}: {json.dumps(vars(one))}" for name, one in self.devices.items()]
        text = json.dumps(head)[:-1] + ', "devices": {\n' + ",\n".join(lines) + "\n}}\n"
        write_atomic(self.path, text.encode(), mode=0o600)


def opened(path: Path, server: str) -> CredentialsFile:
    """The file as it is, or a new one for this server (its URL) that is not written yet. Raises TidegateError."""
    if not path.exists():
        return CredentialsFile(path, server)
    try:
        found = json_text.loads(read_limited(path, MAX_FILE, "file of credentials"))
        if found["kind"] != _KIND or len(bytes.fromhex(found["request"])) != 16:
            raise ValueError("is of another kind")
        devices = {name: Credentials(**one) for name, one in found["devices"].items()}
        if any(not isinstance(text, str) for one in devices.values() for text in vars(one).values()):
            raise ValueError("has values that are not text")
        whose = found["server"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TidegateError(
            f"{path} is there, and is not a file of credentials that this command wrote: {error}", "Name another --out"
        ) from error
    if whose != server:
        raise TidegateError(f"{path} has the credentials of devices of {whose}", "Name another --out for this server")
    return CredentialsFile(path, server, found["request"], devices)
