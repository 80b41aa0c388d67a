"""Writes many rows at once.

SQLite takes rows one by one within one call. psycopg sends a statement for each, which costs the server more than all
the rest of filing telemetry; PostgreSQL takes each column as an array instead, in one statement.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Table, and_, bindparam, insert, update

from ota_server.store.engine import on_postgresql

Row = dict[str, Any]


def insert_rows(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows that all have the same columns, in their order; the others' defaults are the database's."""
    if not on_postgresql(connection):
        connection.execute(insert(table), rows)
        return
    names = list(rows[0])
    columns = ", ".join(f'"{name}"' for name in names)
    statement = f'INSERT INTO "{table.name}" ({columns}) SELECT * FROM {_arrays(connection, table, names)}'
    connection.exec_driver_sql(statement, _columns(names, rows))


def update_rows(
    connection: Connection, table: Table, rows: Sequence[Row], key: Sequence[str], added: Collection[str] = ()
) -> None:
    """Update the rows named by their columns `key`. added: columns whose values are added to what is there."""
    names = list(rows[0])
    values = [name for name in names if name not in key]
    if not on_postgresql(connection):
        mine = and_(*(table.c[name] == bindparam(f"b_{name}") for name in key))
        new: Row = {name: bindparam(f"b_{name}") for name in values}
        new |= {name: table.c[name] + bindparam(f"b_{name}") for name in added}
        bound = [{f"b_{name}": value for name, value in row.items()} for row in rows]
        connection.execute(update(table).where(mine).values(new), bound)
        return
    columns = ", ".join(f'"{name}"' for name in names)
    new_values = ", ".join(f'"{name}" = v."{name}"' + (f' + t."{name}"' if name in added else "") for name in values)
    mine_text = " AND ".join(f't."{name}" = v."{name}"' for name in key)
    statement = (
        f'UPDATE "{table.name}" AS t SET {new_values} FROM {_arrays(connection, table, names)} AS v({columns})'
        f" WHERE {mine_text}"
    )
    connection.exec_driver_sql(statement, _columns(names, rows))


def _arrays(connection: Connection, table: Table, names: Sequence[str]) -> str:
    types = (table.c[name].type.compile(dialect=connection.dialect) for name in names)
    return "unnest(" + ", ".join(f"%s::{kind}[]" for kind in types) + ")"


def _columns(names: Sequence[str], rows: Sequence[Row]) -> tuple[list[Any], ...]:
    return tuple([row[name] for row in rows] for name in names)
