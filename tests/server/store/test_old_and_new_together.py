"""Servers of the version before go on while the first new one migrates the database (docs/decisions/0050)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from patience import limit

import ota_server.store
from ota_server.store.engine import _make_engine

SINCE = "0014"  # the schema when servers began to run side by side; what came before was migrated with all of them down
DEADLOCK = "40P01"  # what was ended so has done nothing, and servers carry it out again

Column = dict[str, Any]


class Chain:
    """The migrations of a database, step by step."""

    def __init__(self, url: str) -> None:
        self.config = Config()
        folder = Path(ota_server.store.__file__).parent / "migrations"
        self.config.set_main_option("script_location", str(folder))
        self.engine = _make_engine(url, foreign_keys=False)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        steps = ScriptDirectory.from_config(self.config).walk_revisions("base", "heads")
        self.steps = [one.revision for one in steps][::-1]

    def to(self, revision: str) -> None:
        writing = self.engine.execution_options(tidegate_write=True)
        with writing.begin() as connection:
            self.config.attributes["connection"] = connection
            command.upgrade(self.config, revision)

    def columns(self) -> dict[tuple[str, str], Column]:
        """By table and column."""
        found = sa.inspect(self.engine)
        return {
            (table, column["name"]): column
            for table in found.get_table_names()
            if table != "alembic_version"
            for column in found.get_columns(table)
        }


@pytest.fixture
def chain(empty: str) -> Iterator[Chain]:
    made = Chain(empty)
    yield made
    made.engine.dispose()


def test_each_migration_leaves_what_the_version_before_reads_and_writes(chain: Chain) -> None:
    chain.to(SINCE)
    later = chain.steps[chain.steps.index(SINCE) + 1 :]
    assert later, "there are migrations to check"
    for revision in later:
        before = chain.columns()
        chain.to(revision)
        assert broken(before, chain.columns()) == [], revision


def broken(before: dict[tuple[str, str], Column], after: dict[tuple[str, str], Column]) -> list[str]:
    """What a server that knows only `before` could not read or write any more."""
    found = []
    tables = {table for table, _ in before}
    for place, column in before.items():
        now = after.get(place)
        if now is None:
            found.append(f"{'.'.join(place)} is gone")
        elif str(now["type"]) != str(column["type"]):
            found.append(f"{'.'.join(place)} was {column['type']}, is {now['type']}")
        elif column["nullable"] and not now["nullable"]:
            found.append(f"{'.'.join(place)} may be null no more")
    for place, column in after.items():
        new = place not in before and place[0] in tables
        if new and not column["nullable"] and column.get("default") is None:
            found.append(f"{'.'.join(place)} is new, and must be given")
    return found


def test_the_check_can_fail() -> None:
    text, number = sa.String(8), sa.Integer()
    before = {("a", "x"): {"type": text, "nullable": True}, ("a", "y"): {"type": text, "nullable": True}}
    before |= {("a", "z"): {"type": text, "nullable": True}}
    after = {("a", "x"): {"type": number, "nullable": True}, ("a", "y"): {"type": text, "nullable": False}}
    after |= {("a", "n"): {"type": text, "nullable": False}, ("b", "n"): {"type": text, "nullable": False}}
    after |= {
        ("a", "m"): {"type": text, "nullable": False, "default": "1"},
        ("a", "o"): {"type": text, "nullable": True},
    }
    assert broken(before, after) == [
        "a.x was VARCHAR(8), is INTEGER",
        "a.y may be null no more",
        "a.z is gone",
        "a.n is new, and must be given",
    ]


class OldServer:
    """Writes all the time with the statements of a schema, read when it started: a device, its series, points, reports.

    written: rows of each table that were committed; ended: transactions carried out again; wrong: what failed.
    """

    def __init__(self, url: str) -> None:
        self.engine = sa.create_engine(url)
        tables = sa.MetaData()
        tables.reflect(self.engine)
        self.tables = tables.tables
        self.written = self.ended = 0
        self.wrong: list[Exception] = []
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run)
        with self.engine.begin() as connection:
            self._add(connection, "device", id="gw-1", board="unix", product="p", password_hash="x", created_at=1)
            self._add(connection, "series", id=1, device_id="gw-1", stream="env", name="t")

    def __enter__(self) -> OldServer:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._leave.set()
        self._thread.join()
        self.engine.dispose()

    def writes(self, more: int) -> None:
        """Until so many more transactions were committed."""
        end, goal = time.monotonic() + limit(60), self.written + more
        while self.written < goal and not self.wrong:
            assert time.monotonic() < end, "the old server stands still"
            time.sleep(0.01)

    def _run(self) -> None:
        while not self._leave.is_set() and not self.wrong:
            try:
                with self.engine.begin() as connection:
                    self._transaction(connection)
                self.written += 1
            except sa.exc.DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) == DEADLOCK:
                    self.ended += 1
                else:
                    self.wrong.append(error)

    def _transaction(self, connection: sa.Connection) -> None:
        device, point = self.tables["device"], self.tables["point"]
        connection.execute(sa.update(device).values(last_seen_at=self.written).where(device.c.id == "gw-1"))
        self._add(connection, "point", series_id=1, at=1_700_000_000_000 + self.written, number=1.5)
        self._add(connection, "report", device_id="gw-1", at=1, sequence=1, phase="trial", body={})
        self._add(
            connection, "alarm", device_id="gw-1", source="device", at=1, last_at=1, kind="k", reason="r", count=1
        )
        for table in (device, point, self.tables["report"]):
            connection.execute(sa.select(table).limit(2)).all()

    def _add(self, connection: sa.Connection, table: str, **values: Any) -> None:
        """An INSERT that names every column of the table which must be given, as the ORM's does."""
        made = self.tables[table]
        for column in made.columns:
            if column.name not in values and not column.nullable and column.server_default is None:
                values[column.name] = _any(column)
        connection.execute(sa.insert(made).values(values))


def _any(column: sa.Column[Any]) -> Any:
    kind = column.type.python_type
    return {bool: False, str: "", bytes: b"", dict: {}}.get(kind, 0)


@pytest.mark.broker
def test_a_server_of_the_version_before_writes_on_through_the_migration(cluster: str) -> None:
    admin = sa.create_engine(cluster)
    with admin.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    chain = Chain(cluster)
    later = chain.steps[chain.steps.index(SINCE) :]
    for before, after in zip(later, later[1:], strict=False):
        chain.to(before)
        with OldServer(cluster) as old:
            old.writes(3)
            chain.to(after)
            old.writes(3)
        assert old.wrong == [], (before, after)
        with admin.begin() as connection:
            for table in ("point", "report", "alarm"):
                assert connection.scalar(sa.select(sa.func.count()).select_from(sa.table(table))) == old.written
            connection.execute(sa.text("TRUNCATE device CASCADE"))
            connection.execute(sa.text("TRUNCATE series, point, report, alarm CASCADE"))
    chain.engine.dispose()
    admin.dispose()
