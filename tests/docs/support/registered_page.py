"""Runs a page of docs/ from top to bottom, whose gateways are only registered: bash on this machine, a real server."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from test_pages import ROOT, TIMEOUT_S, blocks, free_port


def output_of(page: str, folder: str, tmp_path: Path) -> str:
    """What the commands of docs/`page` print, with /tmp/`folder` below `tmp_path` and free ports."""
    script = "set -euo pipefail\n" + "\n".join(blocks(ROOT / "docs" / page))
    script = script.replace(f"/tmp/{folder}", str(tmp_path / folder))
    for port in ("8080", "1883"):
        script = re.sub(rf"\b{port}\b", str(free_port()), script)
    done = subprocess.run(
        ["timeout", "--kill-after=5", str(TIMEOUT_S), "bash", "-c", script], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
