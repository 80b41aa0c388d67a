"""Make a backup of a server, running or not: one file that appears whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import tidegate
from ota_server.backup import database
from ota_server.backup.archive import DATABASES, LEFT_OUT, Facts, Tell, Writer, quiet
from ota_server.config import Config
from ota_server.errors import NotFound, Problem
from ota_server.releases.payload_stores import open_store
from ota_server.releases.payloads import Payloads
from tidegate.errors import TidegateError
from tidegate.files import sync_folder

_NAME = re.compile(r"tidegate-\d{8}T\d{6}Z\.tar")
_SCRATCH = ".tidegate-backup-"


@dataclass(frozen=True)
class Backup:
    """What was made: the file, its bytes, what is in it, and the older ones that were removed."""

    path: Path
    size: int
    facts: Facts
    payloads: int
    removed: list[Path]


def create(config: Config, out: Path, keep: int | None = None, tell: Tell = quiet) -> Backup:
    """Save everything of `config.data` and the database to `out`, a new file, or a folder that gets one.

    keep: of the backups in that folder this many stay, the newest. The database first: payload files are there before
    their rows, and stay, so that every row that was saved has its file.
    """
    at = datetime.now(UTC)
    is_folder = out.is_dir()
    path = out / f"tidegate-{at:%Y%m%dT%H%M%SZ}.tar" if is_folder else out
    if path.exists():
        raise TidegateError(f"{path} exists and is never changed", "Name a new file, or a folder")
    if keep is not None and not is_folder:
        raise TidegateError("--keep needs a folder", f"Name the folder in place of {out}")
    if not path.parent.is_dir():
        raise TidegateError(f"the folder {path.parent} does not exist", "Make it first")
    _remove_left_overs(path.parent)
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=path.parent))
    try:
        backup = _create(config, path, scratch, at, tell)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Backup(*backup, _prune(out, keep) if keep is not None else [])


def _create(config: Config, path: Path, scratch: Path, at: datetime, tell: Tell) -> tuple[Path, int, Facts, int]:
    kind = database.kind(config.database)
    payloads = open_store(config)
    saved = scratch / DATABASES[kind]
    held = database.save(config.database, saved, tell)
    total = sum(held.payloads.values())
    created = at.isoformat(timespec="seconds").replace("+00:00", "Z")
    facts = Facts(kind, held.revision, created, tidegate.__version__, held.audit, held.rows, total)
    part = scratch / "backup.tar"
    with part.open("xb") as stream:
        part.chmod(0o600)
        writer = Writer(stream, facts)
        writer.file(DATABASES[kind], saved)
        for one in sorted(config.data.iterdir()):
            if one.is_file() and not LEFT_OUT.fullmatch(one.name):
                writer.file(f"files/{one.name}", one)
        done = 0
        for digest, size in sorted(held.payloads.items()):
            tell(done, total, digest)
            _add_payload(writer, payloads, digest)
            done += size
        writer.finish()
        stream.flush()
        os.fsync(stream.fileno())
    part.rename(path)
    sync_folder(path.parent)
    return path, path.stat().st_size, facts, len(held.payloads)


def _add_payload(writer: Writer, payloads: Payloads, digest: str) -> None:
    try:
        with payloads.open(digest) as file:
            found = writer.stream(f"payloads/{digest}", file)
    except NotFound:
        raise _damaged(f"the payload {digest} is not at {payloads.where(digest)}") from None
    except Problem as problem:
        raise _damaged(f"the payload {digest} cannot be read: {problem.detail}") from problem
    if found != digest:
        raise _damaged(f"the payload at {payloads.where(digest)} has other bytes than its name says")


def _damaged(what: str) -> TidegateError:
    return TidegateError(
        f"{what}; no backup was made", "Upload it again, or take the file from an older backup: tidegate server check"
    )


def _remove_left_overs(folder: Path) -> None:
    """Of backups that were killed, unless one may still be running."""
    for one in folder.glob(f"{_SCRATCH}*"):
        if datetime.now(UTC).timestamp() - one.stat().st_mtime > 24 * 3600:
            shutil.rmtree(one, ignore_errors=True)


def _prune(folder: Path, keep: int) -> list[Path]:
    """Remove all but the newest backups; their names are their times."""
    older = sorted(one for one in folder.iterdir() if _NAME.fullmatch(one.name))[:-keep]
    for one in older:
        one.unlink()
    return older
