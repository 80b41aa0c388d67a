"""Fixtures: keys whose trust store the servers get, and a PostgreSQL of this folder's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import databases
import programs
import pytest
from server_process import KeyRing


@pytest.fixture(scope="session")
def ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The environment of a server on SQLite or, in a cluster of its own, on PostgreSQL."""
    if request.param == "sqlite":
        yield {}
        return
    if programs.find("initdb") is None:
        pytest.skip("Debian: postgresql is not installed")
    with databases.postgresql(durable=True) as url:
        yield {"TIDEGATE_DATABASE_URL": url}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"
