"""The MicroPython that boards/rpi_pico builds, for the tests of the Pico."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import limit


@pytest.fixture(scope="session")
def firmware() -> Path:
    import pico_job  # here: the emulator may not be installed, and then the tests are skipped

    done = subprocess.run(
        ["make", "-C", pico_job.ROOT / "boards" / "rpi_pico"], capture_output=True, text=True,
        timeout=limit(pico_job.BUILD_S),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return pico_job.FIRMWARE


@pytest.fixture(scope="module")
def broker(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """Listens where the board looks for its broker; a test's module says in ONLINE_S how patiently."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(limit(request.module.ONLINE_S))
        yield server
