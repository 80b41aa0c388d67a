"""From SQLite to PostgreSQL: every row in one transaction, so that a break leaves nothing, and it can be done again."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import URL, Connection, Table, make_url
from sqlalchemy.orm import Session

from ota_server import data_folder
from ota_server.backup import database
from ota_server.backup.archive import Tell, quiet
from ota_server.config import DATABASE_URL, Config
from ota_server.security import audit
from ota_server.store import Store, downlink_queue, migrate
from ota_server.store.models import Base
from tidegate.errors import TidegateError

_TOLD = 5000  # rows after which progress shows


@dataclass(frozen=True)
class Moved:
    """rows: of each table. again: it had been moved before, and only the file's name was left to be changed."""

    rows: dict[str, int]
    again: bool


def move(config: Config, actor: str, tell: Tell = quiet) -> Moved:
    """Copy the rows of `config.data`'s SQLite file into the empty PostgreSQL that the environment names.

    The file then gets another name, so that no server starts on it by mistake. actor: for the audit log.
    """
    source = config.data / "tidegate.db"
    if database.kind(config.database) != "postgresql":
        raise TidegateError(
            f"{DATABASE_URL} names no PostgreSQL database",
            f"Set {DATABASE_URL}=postgresql+psycopg://USER:PASSWORD@HOST/NAME",
        )
    if not source.is_file():
        raise TidegateError(f"there is no database {source}", "Name the server's folder with --data")
    lock = data_folder.hold(config.data)
    try:
        migrate(URL.create("sqlite", database=str(source)))
        with contextlib.closing(sqlite3.connect(os.fsencode(source))) as rows:
            rows.execute("PRAGMA busy_timeout=10000")
            rows.execute("BEGIN IMMEDIATE")  # the command line may write too, beside a server
            moved = _move(config.database, rows, actor, tell)
            rows.rollback()
        for name in ("tidegate.db-wal", "tidegate.db-shm"):
            (config.data / name).unlink(missing_ok=True)
        source.rename(config.data / data_folder.MOVED)
    finally:
        lock.close()
    return moved


def _move(target: str | URL, rows: sqlite3.Connection, actor: str, tell: Tell) -> Moved:
    counts = {name: int(rows.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]) for name in _tables(rows)}
    head = rows.execute("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1").fetchone()
    store = Store(target)
    try:
        with store.engine.connect() as connection:
            if _has(connection, head):
                return Moved(counts, again=True)
            _refuse_used(connection)
        migrate(target)
        with store.write() as session:
            _copy(session, rows, counts, tell)
            _verify(session, counts, head)
            downlink_queue.forget_sent(session)
            audit.record(session, actor, "server.move", "server", rows=sum(counts.values()))
    finally:
        store.close()
    return Moved(counts, again=False)


def _tables(rows: sqlite3.Connection) -> list[str]:
    found = rows.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'")
    names = {row[0] for row in found} - {"alembic_version"}
    foreign = names ^ set(Base.metadata.tables)
    if foreign:
        raise TidegateError(
            f"the database has other tables than this version: {', '.join(sorted(foreign))}",
            "Move it with the version of Tidegate that it belongs to",
        )
    return sorted(names)


def _has(connection: Connection, head: tuple[int, str] | None) -> bool:
    """Whether the target's audit log goes on from the source's newest entry."""
    if head is None or not sa.inspect(connection).has_table("audit"):
        return False
    return connection.scalar(sa.text("SELECT hash FROM audit WHERE id = :id"), {"id": head[0]}) == head[1]


def _refuse_used(connection: Connection) -> None:
    """Tables are allowed, as a move that was interrupted leaves them; rows that people or devices made are not."""
    tables = database.tables_of(connection)
    foreign = sorted(set(tables) - set(Base.metadata.tables))
    used = [name for name in tables if name != "fleet_group" and database.rows_of(connection, name)]
    if foreign or used:
        name = make_url(connection.engine.url).database
        raise TidegateError(
            f"the database {name} is not empty: {', '.join((foreign + used)[:5])}",
            f"Name an empty one with {DATABASE_URL}; nothing was changed",
        )


def _copy(session: Session, rows: sqlite3.Connection, counts: dict[str, int], tell: Tell) -> None:
    """Every table, those that others point to first."""
    connection = session.connection()
    connection.execute(sa.text("DELETE FROM fleet_group"))  # what the migrations made; the source has it too
    done, total = 0, sum(counts.values())
    for table in Base.metadata.sorted_tables:
        quoted = _quoted(table.name)
        names = ", ".join(_quoted(column.name) for column in table.columns)
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(f"COPY {quoted} ({names}) FROM STDIN") as copy:
            for row in _values(rows.execute(f"SELECT {names} FROM {quoted}"), table):
                copy.write_row(row)
                done += 1
                if done % _TOLD == 0:
                    tell(done, total, table.name)
        _go_on_counting(connection, rows, table)


def _values(cursor: sqlite3.Cursor, table: Table) -> Iterator[tuple[Any, ...]]:
    changes: list[tuple[int, Callable[[Any], Any]]] = [
        (number, bool if isinstance(column.type, sa.Boolean) else _json)
        for number, column in enumerate(table.columns)
        if isinstance(column.type, sa.Boolean | sa.JSON)
    ]
    for row in cursor:
        values = list(row)
        for number, change in changes:
            if values[number] is not None:
                values[number] = change(values[number])
        for column, value in zip(table.columns, values, strict=True):
            if isinstance(value, str) and "\0" in value:
                raise TidegateError(
                    f"a row of {table.name} has a NUL in {column.name}, which PostgreSQL cannot store",
                    "Remove it from the row; nothing was moved",
                )
        yield tuple(values)


def _json(value: Any) -> str:
    """SQLite makes a number of a JSON text that is one."""
    return value if isinstance(value, str) else json.dumps(value)


def _go_on_counting(connection: Connection, rows: sqlite3.Connection, table: Table) -> None:
    """New rows get numbers above all that were ever given."""
    for column in table.primary_key:
        name = connection.scalar(
            sa.text("SELECT pg_get_serial_sequence(:table, :column)"),
            {"table": _quoted(table.name), "column": column.name},
        )
        if name is None:
            continue
        last = rows.execute(f'SELECT max("{column.name}") FROM "{table.name}"').fetchone()[0] or 0
        has = rows.execute("SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone()[0]
        if has:
            given = rows.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table.name,)).fetchone()
            last = max(last, given[0] if given else 0)
        if last:
            connection.execute(sa.text("SELECT setval(:name, :last)"), {"name": name, "last": last})


def _verify(session: Session, counts: dict[str, int], head: tuple[int, str] | None) -> None:
    connection = session.connection()
    wrong = [name for name, count in counts.items() if database.rows_of(connection, name) != count]
    found = audit.head(session)
    broken = audit.first_break(session)
    if wrong or broken is not None or (None if found is None else (found.id, found.hash)) != head:
        what = f"rows of {', '.join(wrong)}" if wrong else f"the audit log at entry {broken}"
        raise TidegateError(f"the copy differs from its source in {what}", "Nothing was moved; please report it")


def _quoted(name: str) -> str:
    """For both databases; "group" and "update" are words of theirs."""
    return f'"{name}"'
