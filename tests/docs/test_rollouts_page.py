"""docs/rollouts.md, from top to bottom: bash on this machine and a real server; its gateways are only registered."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from test_pages import ROOT, TIMEOUT_S, blocks, free_port

pytestmark = pytest.mark.server


def test_the_page_on_rollouts_from_top_to_bottom(tmp_path: Path) -> None:
    script = "set -euo pipefail\n" + "\n".join(blocks(ROOT / "docs" / "rollouts.md"))
    script = script.replace("/tmp/waves", str(tmp_path / "waves"))
    for port in ("8080", "1883"):
        script = re.sub(rf"\b{port}\b", str(free_port()), script)
    done = subprocess.run(
        ["timeout", "--kill-after=5", str(TIMEOUT_S), "bash", "-c", script], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for expected in (
        "gate-1: site=vienna",
        "tidegate-gateway 1.0.0 is rolled out in waves to all",
        "wave 1 of 2 (1): ",
        "unreachable",
        "support has calls; 1 offer is withdrawn",
        "wave 2 (100%) is open: smoke test passed",
        "is aborted",
        "+ rollout 1.0.0 to group=default, waves 1%,10%,50%,100%",
        "Rolled out in waves: 1.0.0",
        "fleet.yaml does not declare it",
    ):
        assert expected in done.stdout, f"{expected!r} is missing in:\n{done.stdout}"
