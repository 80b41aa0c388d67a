"""The file that a backup is: a tar archive whose last member lists all others, so that half of one is known as such.

backup.json        what it is of: Facts
database.sqlite    or database.pgdump, of `pg_dump --format=custom`
files/NAME         secrets and settings of the data folder
payloads/DIGEST    one file a payload
contents.json      {"members": {name: {"size", "sha256"}}}
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from tidegate import json_text
from tidegate.errors import TidegateError
from tidegate.names import DIGEST

FORMAT = 1
FACTS = "backup.json"
CONTENTS = "contents.json"
DATABASES = {"sqlite": "database.sqlite", "postgresql": "database.pgdump"}
_MAX_FACTS = 1 << 20
_MAX_CONTENTS = 256 << 20  # a million payloads
_NAME = re.compile(r"(?:files/[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,127}|payloads/[0-9a-f]{64}|database\.(?:sqlite|pgdump))")
# Not part of the folder's state: the database, which is saved by other means, and what only a running server needs.
LEFT_OUT = re.compile(r"tidegate\.db.*|serve\.(?:json|lock)|payloads|\..*")
_PIECE = 1 << 20

Tell = Callable[[int, int, str], None]  # done, total, what


def quiet(_done: int, _total: int, _what: str) -> None:
    """For callers that show nothing."""


@dataclass(frozen=True)
class Facts:
    """What a backup is of. audit: the newest entry's id and hash. rows: of each table. payload_bytes: of all files."""

    database: str
    revision: str
    created: str
    tidegate: str
    audit: tuple[int, str] | None
    rows: dict[str, int]
    payload_bytes: int
    format: int = FORMAT


class Hashed:
    """A file that is read once, and its digest then."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._digest.update(data)
        self.size += len(data)
        return data

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


class Writer:
    """Writes members one after the other; only `finish` makes it a backup."""

    def __init__(self, stream: BinaryIO, facts: Facts) -> None:
        self._tar = tarfile.TarFile(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT)
        self._members: dict[str, dict[str, Any]] = {}
        self._bytes(FACTS, json.dumps(asdict(facts), indent=1).encode() + b"\n")

    def file(self, name: str, path: Path) -> str:
        """Add what `path` holds, as long as it is now; returns its SHA-256. Raises OSError."""
        with path.open("rb") as stream:
            return self.stream(name, stream)

    def stream(self, name: str, stream: BinaryIO) -> str:
        """The same with a file that is open."""
        info = tarfile.TarInfo(name)
        info.size, info.mode = stream.seek(0, io.SEEK_END), 0o600
        info.mtime = int(os.fstat(stream.fileno()).st_mtime)
        stream.seek(0)
        hashed = Hashed(stream)
        self._tar.addfile(info, hashed)
        self._members[name] = {"size": hashed.size, "sha256": hashed.hexdigest()}
        return hashed.hexdigest()

    def finish(self) -> None:
        self._bytes(CONTENTS, json.dumps({"members": self._members}).encode() + b"\n")
        self._tar.close()

    def _bytes(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o600
        self._tar.addfile(info, io.BytesIO(data))
        if name != CONTENTS:
            self._members[name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@dataclass(frozen=True)
class Read:
    """What a whole backup holds. members: name -> SHA-256 of its bytes."""

    facts: Facts
    members: dict[str, str]

    @property
    def database(self) -> str:
        return DATABASES[self.facts.database]

    def payloads(self) -> set[str]:
        return {name.partition("/")[2] for name in self.members if name.startswith("payloads/")}


def read(path: Path, to: Callable[[str], Path | None], tell: Tell = quiet) -> Read:
    """Read a backup from its first byte to its last, and write each member where `to(name)` says; None: only check it.

    TidegateError for a file that is not a whole backup; what was written until then is the caller's to remove.
    """
    try:
        with path.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            return _read(path, tar, to, tell)
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:  # the last two: numbers in tar's headers
        raise _not_whole(path, str(error) or "it ends too early") from error
    except FileNotFoundError as error:
        raise TidegateError(f"the backup {path} does not exist", "Check the path") from error


def _read(path: Path, tar: tarfile.TarFile, to: Callable[[str], Path | None], tell: Tell) -> Read:
    total = path.stat().st_size
    facts: Facts | None = None
    found: dict[str, dict[str, Any]] = {}
    for member in tar:
        tell(member.offset, total, member.name)
        # A sparse member says that it is of any size, and takes a few bytes of the backup for it.
        stream = tar.extractfile(member) if member.isreg() and not member.issparse() else None
        if stream is None or member.name in found:
            raise _not_whole(path, f"{member.name!r} is not a member that a backup has")
        if member.name == CONTENTS:
            said = _document(path, member, stream, _MAX_CONTENTS).get("members")
            if facts is None or said != found:
                raise _not_whole(path, "its members are not those that its list of contents names")
            if DATABASES[facts.database] not in found:
                raise _not_whole(path, "the database is missing")
            return Read(facts, {name: one["sha256"] for name, one in found.items()})
        if member.name == FACTS:
            data = stream.read(_MAX_FACTS + 1)
            facts = _facts(path, data)
            found[FACTS] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            continue
        left_out = LEFT_OUT.fullmatch(member.name.removeprefix("files/"))
        if facts is None or left_out or not _NAME.fullmatch(member.name):
            raise _not_whole(path, f"{member.name!r} is not a member that a backup has")
        found[member.name] = _take(stream, to(member.name))
        digest = member.name.removeprefix("payloads/")
        if DIGEST.fits(digest) and found[member.name]["sha256"] != digest:
            raise _not_whole(path, f"the payload {digest} has other bytes")
    raise _not_whole(path, "it ends before its list of contents")


def _take(stream: IO[bytes], target: Path | None) -> dict[str, Any]:
    hashed = Hashed(stream)
    if target is None:
        while hashed.read(_PIECE):
            pass
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:
            target.chmod(0o600)
            for piece in _pieces(hashed):
                out.write(piece)
    return {"size": hashed.size, "sha256": hashed.hexdigest()}


def _pieces(stream: Hashed) -> Iterator[bytes]:
    while piece := stream.read(_PIECE):
        yield piece


def _facts(path: Path, data: bytes) -> Facts:
    try:
        document = json_text.loads(data)
        if document["format"] != FORMAT:
            raise TidegateError(
                f"{path} has the backup format {document['format']!r}, and this version reads {FORMAT}",
                "Use the version of Tidegate that made it, or a newer one",
            )
        head = document["audit"]
        facts = Facts(**{**document, "audit": None if head is None else (int(head[0]), str(head[1]))})
        if facts.database not in DATABASES or not isinstance(facts.rows, dict):
            raise ValueError("unknown database")
        texts, numbers = (facts.revision, facts.created, facts.tidegate), (facts.payload_bytes, *facts.rows.values())
        if not all(isinstance(one, str) for one in texts) or not all(type(one) is int for one in numbers):
            raise ValueError("of another kind")
        return facts
    except (ValueError, KeyError, TypeError) as error:
        raise _not_whole(path, f"its {FACTS} cannot be read") from error


def _document(path: Path, member: tarfile.TarInfo, stream: IO[bytes], most: int) -> dict[str, Any]:
    try:
        document = json_text.loads(stream.read(most + 1))
        if isinstance(document, dict):
            return document
    except ValueError:
        pass
    raise _not_whole(path, f"its {member.name} cannot be read")


def _not_whole(path: Path, why: str) -> TidegateError:
    return TidegateError(f"{path} is not a whole backup: {why}", "Use another backup; nothing was restored from it")
