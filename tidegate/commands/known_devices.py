"""What this machine knows of devices: a file, as ssh's known_hosts is one (docs/known-devices.md).

A server can say anything; who is meant by a name, and which key a device has, is remembered here. Entries belong to a
server by its address, since names are its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tidegate import json_text, names, user_folder
from tidegate.errors import TidegateError
from tidegate.files import read_limited, write_atomic
from tidegate.wire import proofs

VARIABLE = "TIDEGATE_KNOWN_DEVICES"
MAX_SIZE = 16 << 20  # bytes; some 60,000 devices
_VERSION = 1
_REMEDY = "Correct it, put a good copy in its place, or name another file in " + VARIABLE


@dataclass(frozen=True)
class KnownDevice:
    """One device of one server.

    id: None for a name that waits for the board with the claim `claim`, which this machine made; name: what people
    call it, None if nobody has said so here; key: its public key in hex, None if it has shown none; first_seen: in UTC.
    """

    server: str
    id: str | None = None
    name: str | None = None
    key: str | None = None
    first_seen: str = ""
    claim: str | None = None

    @property
    def called(self) -> str:
        return self.name or self.id or "?"


def default_path() -> Path:
    """The file that TIDEGATE_KNOWN_DEVICES names, else known-devices in the user's folder for Tidegate's settings."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else user_folder.path("known-devices")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class KnownDevices:
    """The file at `path`, and what it says of the devices of `server` (its URL)."""

    def __init__(self, path: Path, server: str) -> None:
        self.path = path
        self.server = server.rstrip("/")
        self._entries = read(path)

    def all(self, every_server: bool = False) -> list[KnownDevice]:
        return [one for one in self._entries if every_server or one.server == self.server]

    def find(self, word: str) -> KnownDevice | None:
        """The entry with this id, else with this name."""
        return self.by_id(word) or self.by_name(word)

    def by_id(self, device: str) -> KnownDevice | None:
        return next((one for one in self.all() if one.id == device), None)

    def by_name(self, name: str) -> KnownDevice | None:
        return next((one for one in self.all() if one.name == name), None)

    def put(self, *changed: KnownDevice) -> None:
        """Keep these in place of what has their ids or names."""
        with self._changing() as entries:
            entries[:] = [*_without(entries, changed), *changed]

    def forget(self, word: str) -> KnownDevice | None:
        """Remove the entry with this id or name; returns it, or None if there is none."""
        found = self.find(word)
        if found is not None:
            with self._changing() as entries:
                entries[:] = [one for one in entries if one != found]
        return found

    def note_name(self, device: str, name: str | None) -> None:
        """A person gave the device with this id a name, or took it away."""
        found = self.by_id(device) or KnownDevice(self.server, device, first_seen=now())
        self.put(replace(found, name=name))

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[KnownDevice]]:
        """The entries as they are in the file now, of all servers; written back at the end, under a lock."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(f"{self.path}.lock", os.O_CREAT | os.O_RDWR, 0o600)) as guard:
                fcntl.flock(guard, fcntl.LOCK_EX)
                entries = read(self.path)
                yield entries
                write_atomic(self.path, encode(entries), mode=0o600)
                self._entries = entries
        except OSError as error:
            raise TidegateError(
                f"what is known of devices cannot be kept in {self.path}: {error.strerror}",
                f"Name a file that can be written in {VARIABLE}",
            ) from error


def read(path: Path) -> list[KnownDevice]:
    """The entries of a file; none if there is no file. TidegateError says which one is wrong."""
    if not path.exists():
        return []
    try:
        found = json_text.loads(read_limited(path, MAX_SIZE, "file of known devices"))
    except json_text.NotJson as error:
        raise TidegateError(f"{path} {error}", _REMEDY) from error
    if not isinstance(found, dict) or found.get("version") != _VERSION or not isinstance(found.get("devices"), list):
        raise TidegateError(f"{path} is not a file of known devices of version {_VERSION}", _REMEDY)
    entries: list[KnownDevice] = []
    taken: set[tuple[str, str, str]] = set()
    for number, entry in enumerate(found["devices"], 1):
        wrong = _wrong(entry)
        if wrong:
            raise TidegateError(f"{path}, device {number}: {wrong}", _REMEDY)
        new = KnownDevice(**entry)
        own = {(new.server, what, text) for what, text in (("id", new.id), ("name", new.name)) if text is not None}
        if own & taken:
            raise TidegateError(f"{path}, device {number}: its id or name is there twice", _REMEDY)
        taken |= own
        entries.append(new)
    return entries


def encode(entries: Sequence[KnownDevice]) -> bytes:
    """The file with these entries: JSON, a line for each."""
    ordered = sorted(entries, key=lambda one: (one.server, one.id or "", one.name or ""))
    lines = [json.dumps({name: item for name, item in asdict(one).items() if item is not None}) for one in ordered]
    return f'{{"version": {_VERSION}, "devices": [\n'.encode() + ",\n".join(lines).encode() + b"\n]}\n"


def _without(entries: Sequence[KnownDevice], changed: Sequence[KnownDevice]) -> list[KnownDevice]:
    """The entries but for those of the same servers that have the ids or names of `changed`. One that loses only its
    name to another stays."""
    ids = {(one.server, one.id) for one in changed if one.id is not None}
    named = {(one.server, one.name) for one in changed if one.name is not None}
    left = []
    for one in entries:
        takes_name = one.name is not None and (one.server, one.name) in named
        if (one.server, one.id) in ids or (takes_name and one.id is None):
            continue
        left.append(replace(one, name=None) if takes_name else one)
    return left


def _wrong(entry: Any) -> str | None:
    """What is wrong with an entry of a file, or None."""
    known = {field.name for field in fields(KnownDevice)}
    if not isinstance(entry, dict) or not {"server"} <= set(entry) <= known:
        return f"it must have a server, and of {', '.join(sorted(known))} what is known"
    if not all(isinstance(item, str) and item.isprintable() and len(item) <= 512 for item in entry.values()):
        return "its values must be text"
    device, name, key = entry.get("id"), entry.get("name"), entry.get("key")
    if device is None and (name is None or entry.get("claim") is None or key is not None):
        return "without an id it must have a name and a claim"
    if device is not None and not names.DEVICE_ID.fits(device):
        return names.DEVICE_ID.refusal(device)
    if name is not None and not names.DEVICE_NAME.fits(name):
        return names.DEVICE_NAME.refusal(name)
    if key is not None:
        if len(key) != 64 or set(key) - set("0123456789abcdef"):
            return "its key must be 64 hex digits"
        if device is not None and proofs.is_thumbprint(device) and proofs.thumbprint(bytes.fromhex(key)) != device:
            return "its key is not the one that its id is the thumbprint of"
    return None
