"""Make a server's folder, and its database, from a backup: all of it or nothing, and again after an interruption."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import URL

from ota_server import data_folder
from ota_server.backup import archive, database
from ota_server.backup.archive import Facts, Tell, quiet
from ota_server.backup.check import revisions
from ota_server.config import DATABASE_URL, Config
from ota_server.releases.payloads import file_of
from ota_server.security import audit
from ota_server.store import Store, downlink_queue, migrate
from ota_server.store.models import CoapSession
from tidegate import audit_chain
from tidegate.errors import TidegateError

_MAY_BE_THERE = {data_folder.LOCK, "lost+found"}


@dataclass(frozen=True)
class Restored:
    """Of what a folder was made."""

    facts: Facts
    payloads: int


def restore(config: Config, path: Path, actor: str, tell: Tell = quiet) -> Restored:
    """Restore the backup `path` into `config.data`, an empty or new folder, and into an empty database.

    Everything is unpacked and checked in a scratch folder there; only then do files get their names. While that folder
    exists no server starts, and another restore begins anew. actor: for the audit log.
    """
    config.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = data_folder.hold(config.data)
    try:
        _make_empty(config.data)
        scratch = config.data / data_folder.RESTORING
        scratch.mkdir(mode=0o700)
        try:
            found = archive.read(path, lambda name: _place(scratch, name), tell)
            _refuse_other_database(config, found.facts)
            url = _fill_database(config, scratch, found)
            _settle(url, found, actor)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        _name(config.data, scratch)
    finally:
        lock.close()
    return Restored(found.facts, len(found.payloads()))


def _make_empty(data: Path) -> None:
    """Remove what an interrupted restore left; refuse a folder with anything else in it."""
    there = [one for one in data.iterdir() if one.name not in _MAY_BE_THERE]
    if any(one.name == data_folder.RESTORING for one in there):
        for one in there:
            shutil.rmtree(one) if one.is_dir() else one.unlink()
    elif there:
        raise TidegateError(f"the folder {data} is not empty", "Name a new folder with --data, or move that one away")


def _place(scratch: Path, name: str) -> Path:
    """Where a member of the archive goes; their names were checked."""
    folder, _, rest = name.partition("/")
    if folder == "payloads":
        return file_of(scratch / "payloads", rest)
    return scratch / ("files/" + rest if rest else "tidegate.db" if name == "database.sqlite" else name)


def _refuse_other_database(config: Config, facts: Facts) -> None:
    kind = database.kind(config.database)
    if facts.database != kind:
        raise TidegateError(
            f"this is a backup of a server on {facts.database}, and this one is on {kind}",
            f"Unset {DATABASE_URL} for the restore; then use: tidegate server move"
            if facts.database == "sqlite"
            else f"Set {DATABASE_URL} to the address of an empty database",
        )
    if facts.revision not in revisions():
        raise TidegateError(
            f"the backup was made by Tidegate {facts.tidegate}, whose tables this version does not know",
            "Restore it with that version, or a newer one",
        )


def _fill_database(config: Config, scratch: Path, found: archive.Read) -> str | URL:
    """The database with the backup's rows, not yet brought up to date; returns its address."""
    if found.facts.database == "sqlite":
        return URL.create("sqlite", database=str(scratch / "tidegate.db"))
    store = Store(config.database)
    try:
        with store.engine.connect() as connection:
            there = database.tables_of(connection)
            ours = "audit" in there and _has_head(connection, found.facts)
    finally:
        store.close()
    if there and not ours:
        raise TidegateError(
            "the database is not empty", f"Name an empty one with {DATABASE_URL}: createdb; nothing was changed"
        )
    dump = scratch / found.database
    if not there:  # an interrupted restore may have come so far before
        options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
        database.postgresql_tool("pg_restore", config.database, *options, str(dump))
    dump.unlink()
    return config.database


def _has_head(connection: sa.Connection, facts: Facts) -> bool:
    """Whether the database has the backup's newest audit entry, so that it was filled from it, or is where it is from:
    the second is for `_settle` to find, by the number of rows."""
    head = facts.audit
    query = sa.text("SELECT hash FROM audit WHERE id = :id")
    return head is not None and connection.scalar(query, {"id": head[0]}) == head[1]


def _settle(url: str | URL, found: archive.Read, actor: str) -> None:
    """Check the restored rows, bring them up to date, and forget what was true only then."""
    facts = found.facts
    store = Store(url)
    try:
        with store.read() as session:
            held = database.moment(session.connection())
            if held.rows != facts.rows or held.audit != facts.audit:
                raise TidegateError(
                    "the database does not hold what the backup holds", "Restore into an empty database"
                )
            if set(held.payloads) != found.payloads():
                raise TidegateError("the backup lacks payloads that its database names", "Use another backup")
            heads = [] if facts.audit is None else [audit_chain.Head(*facts.audit, seen=facts.created)]
            audit_chain.verify(audit.entries(session), heads)
    finally:
        store.close()
    migrate(url)  # which checks foreign keys too
    store = Store(url)
    try:
        with store.write() as session:
            downlink_queue.forget_sent(session)  # the broker may have heard newer things since
            # Messages of sessions that went on after the backup could otherwise be filed twice.
            session.execute(sa.update(CoapSession).values(echo=None, counter=-1, window=0))
            audit.record(session, actor, "server.restore", "server", backup=facts.created, tidegate=facts.tidegate)
    finally:
        store.close()


def _name(data: Path, scratch: Path) -> None:
    """Give the files their names, the database last; to the folder's owner, where root does this for another user."""
    owner = data.stat()
    if os.geteuid() == 0 and owner.st_uid:
        for one in [data / data_folder.LOCK, *scratch.rglob("*")]:
            os.chown(one, owner.st_uid, owner.st_gid)
    files = scratch / "files"
    for one in files.iterdir() if files.exists() else []:
        one.rename(data / one.name)
    for name in ("payloads", "tidegate.db"):
        if (scratch / name).exists():
            (scratch / name).rename(data / name)
    shutil.rmtree(scratch)
    os.sync()
