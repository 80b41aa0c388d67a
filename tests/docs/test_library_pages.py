"""The programs on the device libraries' pages run as they stand, on the unix port with firmware/lib alone."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from patience import limit

ROOT = Path(__file__).resolve().parent.parent.parent
UNIX = ROOT / "build" / "unix" / "micropython"
PRINTED = {
    "cbor": ["21.5", "reserved or indefinite length", "in 12 bytes"],
    "senml": ["bytes", "gw-1:temperature 21.53", "Cel -5", "gw-1:door True"],
}


@pytest.mark.built
@pytest.mark.parametrize("page", PRINTED)
def test_the_programs_of_a_page_run(page: str) -> None:
    if not UNIX.exists():
        pytest.skip(f"{UNIX} is not built")
    text = (ROOT / "docs" / f"{page}.md").read_text()
    program = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    done = subprocess.run(
        [UNIX, "-c", program],
        env={**os.environ, "MICROPYPATH": str(ROOT / "firmware/lib")},
        capture_output=True,
        text=True,
        timeout=limit(30),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for expected in PRINTED[page]:
        assert expected in done.stdout, f"{expected!r} is missing in:\n{done.stdout}"
