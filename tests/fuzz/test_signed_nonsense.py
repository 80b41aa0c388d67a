"""What signed.py does by the hundred thousand (`make fuzz`), some hundreds of each kind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import signed
from patience import limit

ROOT = Path(__file__).resolve().parent.parent.parent
MICROPYTHON = Path(os.environ.get("TIDEGATE_UNIX_MICROPYTHON", ROOT / "build/unix/micropython"))
COUNT = 600
SEED = 1


@pytest.mark.skipif(not MICROPYTHON.exists(), reason="not built: make -C boards/unix")
@pytest.mark.parametrize("name", signed.KINDS)
def test_signed(name: str) -> None:
    seen = signed.run(name, COUNT, SEED, [str(MICROPYTHON), "-X", "heapsize=8m"], None)
    assert seen["taken"] >= 5 and seen["taken"] < COUNT / 2
    assert len(seen) >= 4, "refused for hardly any reason"


@pytest.mark.skipif(not MICROPYTHON.exists(), reason="not built: make -C boards/unix")
def test_make_fuzz_runs() -> None:
    command = [sys.executable, ROOT / "tests" / "fuzz" / "run.py", "--count", "20", "--seed", "1", "--only", "cbor"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit(60), cwd="/")
    assert done.returncode == 0 and "0 targets with a finding" in done.stdout, done.stdout + done.stderr
