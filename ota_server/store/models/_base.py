"""What all tables are made with."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Integer, text
from sqlalchemy.orm import DeclarativeBase

# SQLite numbers rows by itself only for the type INTEGER.
RowId = BigInteger().with_variant(Integer, "sqlite")


def only(condition: str) -> dict[str, Any]:
    """Options of an index that has only the rows for which the condition holds."""
    # SQLite learned the standard's words only in 3.39.
    plain = condition.replace("IS DISTINCT FROM", "IS NOT")
    return {"sqlite_where": text(plain), "postgresql_where": text(condition)}


class Base(DeclarativeBase):
    pass
