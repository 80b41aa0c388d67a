"""The firmwares that boards/rpi_pico builds, for the tests of the Pico."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import limit

ROOT = Path(__file__).resolve().parents[2]
BUILD_S = 1500  # from nothing


def _built(name: str, *variables: str) -> Path:
    words = ["make", "-C", ROOT / "boards" / "rpi_pico", *variables]
    done = subprocess.run(words, capture_output=True, text=True, timeout=limit(BUILD_S))
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "build" / "rpi_pico" / name


@pytest.fixture(scope="session")
def firmware() -> Path:
    return _built("firmware.uf2")


@pytest.fixture(scope="session")
def frozen_firmware() -> Path:
    """With frozen/frozen.json beside it."""
    return _built("firmware-frozen.uf2", "FROZEN=1")


@pytest.fixture(scope="session")
def stock_firmware() -> Path:
    return _built("firmware-stock.uf2", "STOCK=1")


@pytest.fixture(scope="module")
def broker(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """Listens where the board looks for its broker; a test's module says in ONLINE_S how patiently."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(limit(request.module.ONLINE_S))
        yield server
