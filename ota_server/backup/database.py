"""One moment of the database as a file, while the server goes on writing, and what that moment held."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from sqlalchemy import URL, Connection, make_url

from ota_server.backup.archive import Tell
from ota_server.store import Store
from tidegate.errors import TidegateError

_PAGES = 2000  # of SQLite in one step, after which progress shows
_ALEMBIC = "alembic_version"


@dataclass(frozen=True)
class Moment:
    """What the database held. payloads: digest -> size. audit: the newest entry. rows: of each table."""

    revision: str
    payloads: dict[str, int]
    audit: tuple[int, str] | None
    rows: dict[str, int]


def kind(url: str | URL) -> str:
    """sqlite or postgresql."""
    return make_url(url).get_backend_name()


def file_of(url: str | URL) -> Path:
    """The file of a SQLite database."""
    return Path(make_url(url).database or "")


def save(url: str | URL, target: Path, tell: Tell) -> Moment:
    """Write the database's present state to `target`, and say what it held. Writers do not wait for this."""
    if kind(url) == "sqlite":
        copy_sqlite(file_of(url), target, tell)
        with _reading(URL.create("sqlite", database=str(target))) as connection:
            return moment(connection)
    with _reading(url) as connection:
        connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            snapshot = connection.scalar(sa.text("SELECT pg_export_snapshot()"))
            held = moment(connection)
            tell(0, 1, "pg_dump")
            options = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}", f"--file={target}"]
            postgresql_tool("pg_dump", url, *options)
    return held


def copy_sqlite(source: Path, target: Path, tell: Tell) -> None:
    """SQLite's online backup of one moment: a transaction that stays open keeps writers from making it begin anew."""
    if not source.is_file():
        raise TidegateError(f"there is no database {source}", "Name the server's folder with --data")
    with (
        contextlib.closing(sqlite3.connect(os.fsencode(source))) as read,
        contextlib.closing(sqlite3.connect(os.fsencode(target))) as written,
    ):
        target.chmod(0o600)
        read.execute("PRAGMA busy_timeout=10000")
        try:
            read.execute("BEGIN")
            read.execute("SELECT count(*) FROM sqlite_master").fetchone()
            read.backup(written, pages=_PAGES, progress=lambda _code, left, all_: tell(all_ - left, all_, "database"))
            read.rollback()
            written.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
        except sqlite3.DatabaseError as error:
            raise TidegateError(
                f"the database {source} cannot be read: {error}", "Look at it with: tidegate server check"
            ) from error


def moment(connection: Connection) -> Moment:
    """What the database holds in this transaction. Raises TidegateError for one that is not Tidegate's."""
    tables = tables_of(connection)
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is None or not {"audit", "payload"} <= set(tables):
        raise TidegateError("the database has no tables of Tidegate", "Name the folder and the database of a server")
    payloads = {row[0]: row[1] for row in connection.execute(sa.text("SELECT digest, size FROM payload"))}
    newest = connection.execute(sa.text("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1")).first()
    rows = {name: rows_of(connection, name) for name in tables}
    return Moment(revision, payloads, None if newest is None else (newest[0], newest[1]), rows)


def tables_of(connection: Connection) -> list[str]:
    """Names of the tables but Alembic's and SQLite's own; of a table in partitions only the whole."""
    if connection.dialect.name == "postgresql":
        found = connection.scalars(
            sa.text(
                "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
                " AND relnamespace = current_schema()::regnamespace ORDER BY relname"
            )
        )
    else:
        found = connection.scalars(
            sa.text(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_' ORDER BY 1"
            )
        )
    return [name for name in found if name != _ALEMBIC]


def rows_of(connection: Connection, table: str) -> int:
    quoted = connection.dialect.identifier_preparer.quote(table)
    return int(connection.scalar(sa.text(f"SELECT count(*) FROM {quoted}")) or 0)


def postgresql_tool(name: str, url: str | URL, *options: str) -> None:
    """Run pg_dump or pg_restore on the database at `url`; TidegateError with the end of what it complained about."""
    program = shutil.which(name)
    if program is None:
        raise TidegateError(f"{name} is not installed", "Debian and Ubuntu: apt-get install postgresql-client")
    address = make_url(url)
    place = address.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    # The password by a variable: everybody on the machine sees arguments.
    variables = dict(os.environ) if address.password is None else {**os.environ, "PGPASSWORD": str(address.password)}
    done = subprocess.run(
        [program, f"--dbname={place}", *options],
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = " ".join(done.stderr.split())[-300:]
        raise TidegateError(f"{name} failed: {said}", "Its version must be the server's or newer: postgresql-client")


@contextlib.contextmanager
def _reading(url: str | URL) -> Iterator[Connection]:
    store = Store(url)
    try:
        with store.engine.connect() as connection:
            yield connection
    finally:
        store.close()
