"""Connections and transactions."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.orm import Session

from ota_server.store import place
from tidegate.errors import TidegateError

BUSY_TIMEOUT_MS = 5_000  # how long a writer waits for another transaction; who asked over HTTP then hears 503

_START_LOCK = 0x7469_6465_0004  # any number that nobody else uses


class Store:
    """A database and its two kinds of transactions.

    `read()` and `write()` are context managers that give a Session. `write()` commits at the end of the block and rolls
    everything back when it raises.
    """

    def __init__(self, url: str | URL) -> None:
        self.engine = _make_engine(url)
        self._writing = self.engine.execution_options(tidegate_write=True)

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextlib.contextmanager
    def write(self) -> Iterator[Session]:
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    @property
    def on_postgresql(self) -> bool:
        """Whether other processes may use the database: SQLite's file belongs to one."""
        return self.engine.dialect.name == "postgresql"

    def close(self) -> None:
        self.engine.dispose()


def take_turns(connection: Connection | Session) -> None:
    """Until the end of the transaction, of all processes that start at the same moment only one goes on from here."""
    lock(connection, _START_LOCK)


def lock(connection: Connection | Session, number: int) -> None:
    """Until the transaction ends nobody else gets past the lock of this number. SQLite has one writer anyway."""
    if on_postgresql(connection):
        connection.execute(select(func.pg_advisory_xact_lock(number)))


def insert_or_update(session: Session, table: Any) -> Any:
    """An INSERT that knows ON CONFLICT. Both databases have the same; only the names differ."""
    return (postgresql if on_postgresql(session) else sqlite).insert(table)


def on_postgresql(connection: Connection | Session) -> bool:
    bound = connection.get_bind() if isinstance(connection, Session) else connection
    return bound.dialect.name == "postgresql"


def migrate(url: str | URL) -> None:
    """Bring the tables to the newest version; safe to call at every start."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    # Changing a table in SQLite replaces it, and the old one could not be dropped while rows of others point to it.
    engine = _make_engine(url, foreign_keys=False)
    try:
        with engine.execution_options(tidegate_write=True).begin() as connection:
            take_turns(connection)
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise TidegateError(
                    f"the database is not of this version of Tidegate, or of a newer one: {error}",
                    "Install the version that wrote it, or go back to a backup of the database",
                ) from None
            if engine.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                raise TidegateError("the database has foreign keys without a row", "Go back to a backup of it")
    finally:
        engine.dispose()


def _make_engine(url: str | URL, *, foreign_keys: bool = True) -> Engine:
    try:
        # Parameters are secrets and hashes, and errors get logged. A database server may have been restarted meanwhile.
        engine = create_engine(url, hide_parameters=True, pool_pre_ping=not is_sqlite(url), **_by_bytes(url))
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        missing = isinstance(error, ModuleNotFoundError)
        raise TidegateError(
            f"the database driver is not installed: {error}" if missing else "the database's address cannot be used",
            "pip install 'tidegate[postgresql]'"
            if missing
            else "Write it like postgresql+psycopg://USER:PASSWORD@HOST/NAME",
        ) from None
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine, foreign_keys)
    return engine


def is_sqlite(url: str | URL) -> bool:
    return make_url(url).get_backend_name() == "sqlite"


def _by_bytes(url: str | URL) -> dict[str, Any]:
    """How to open a file whose name is not UTF-8, which only its bytes can say."""
    name = url.database if isinstance(url, URL) and is_sqlite(url) else None
    try:
        (name or "").encode()
        return {}
    except UnicodeEncodeError:
        path = os.fsencode(name or "")
        return {"creator": lambda: sqlite3.connect(path, check_same_thread=False)}


def _prepare_sqlite(engine: Engine, foreign_keys: bool) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")  # in WAL each commit is synced: no power cut takes back an answer
        cursor.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")
        cursor.close()
        place.register(connection)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that will write takes the lock at once: upgrading a read transaction can fail with
        # "database is locked" however long the timeout is.
        writes = connection.get_execution_options().get("tidegate_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
