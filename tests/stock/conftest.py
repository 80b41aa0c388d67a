"""The MicroPython that boards/rpi_pico builds, for the tests of the Pico."""

from __future__ import annotations

import subprocess
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
