"""Empty databases, of both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import databases
import pytest
import sqlalchemy as sa


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with databases.postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'tidegate.db'}"
    url = request.getfixturevalue("cluster")
    admin = sa.create_engine(url)
    with admin.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    admin.dispose()
    return url
