"""Variants of the emulated board's firmware."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from patience import limit

BOARD = Path(__file__).resolve().parents[3] / "boards" / "qemu_mps2"
BUILD_S = 400


def make(*variables: str) -> None:
    """Builds it with these variables of its Makefile, as FROZEN=1."""
    command = ["make", "-C", str(BOARD), *variables, f"PYTHON={sys.executable}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit(BUILD_S))
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
