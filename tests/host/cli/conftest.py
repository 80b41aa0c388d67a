"""What the tests of commands that ask a server share: one whose answers a test may twist."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from odd_server import OddServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[OddServer]:
    """The server that `tidegate` asks, with a token."""
    (tmp_path / "token").write_text("tg_" + "A" * 43)
    odd = OddServer()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("TIDEGATE_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("TIDEGATE_SERVER", odd.url)
    yield odd
    odd.close()
