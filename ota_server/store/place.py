"""`tidegate.rollout.place` inside of a statement, so that the database finds who is in a wave."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from tidegate import rollout

_NAME = "tidegate_place"


class Place(FunctionElement[int]):
    """Place(key, device id): from 0 to 2**32 - 1."""

    type = BigInteger()
    inherit_cache = True
    name = _NAME


@compiles(Place, "sqlite")
def _on_sqlite(element: Place, compiler: Any, **words: Any) -> str:
    return f"{_NAME}({compiler.process(element.clauses, **words)})"


@compiles(Place, "postgresql")
def _on_postgresql(element: Place, compiler: Any, **words: Any) -> str:
    key, device_id = (compiler.process(one, **words) for one in element.clauses)
    digest = f"sha256(convert_to(CAST({key} AS text) || '/' || {device_id}, 'UTF8'))"
    return f"('x' || substr(encode({digest}, 'hex'), 1, 8))::bit(32)::bigint"


def register(connection: sqlite3.Connection) -> None:
    connection.create_function(_NAME, 2, rollout.place, deterministic=True)
