"""Fixtures: keys, one server for tests that only add to it, and servers of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from server_process import KeyRing, ServerProcess


@pytest.fixture(scope="session")
def ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, ring: KeyRing) -> Iterator[ServerProcess]:
    """One server for all tests that only add to it."""
    server = ServerProcess(tmp_path_factory.mktemp("shared") / "data", "--trust", str(ring.trust))
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()


@pytest.fixture
def start(tmp_path: Path, ring: KeyRing) -> Iterator[Callable[..., ServerProcess]]:
    """Starts servers of this test's own; they are stopped after it."""
    running: list[ServerProcess] = []

    def starter(*arguments: str, data: Path | None = None, trusting: bool = True, **kwargs: Any) -> ServerProcess:
        trusted = ("--trust", str(ring.trust)) if trusting else ()
        running.append(ServerProcess(data or tmp_path / "data", *trusted, *arguments, **kwargs))
        return running[-1]

    yield starter
    for server in running:
        if server.process.poll() is None:
            server.stop()
