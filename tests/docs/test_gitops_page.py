"""docs/gitops.md, from top to bottom: bash on this machine and a real server; its gateways are only registered."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from test_pages import ROOT, TIMEOUT_S, blocks, free_port

pytestmark = pytest.mark.server


def test_the_page_on_fleets_from_top_to_bottom(tmp_path: Path) -> None:
    script = "set -euo pipefail\n" + "\n".join(blocks(ROOT / "docs" / "gitops.md"))
    script = script.replace("/tmp/fleet", str(tmp_path / "fleet"))
    for port in ("8080", "1883"):
        script = re.sub(rf"\b{port}\b", str(free_port()), script)
    done = subprocess.run(
        ["timeout", "--kill-after=5", str(TIMEOUT_S), "bash", "-c", script], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for expected in (
        "gate-1: now in group canary, which follows channel candidate",
        "tidegate-gateway 1.0.0 (sequence 1) is rolled out to channel stable",
        "+ group held",
        "~ device gate-2: group default -> held",
        "~ device gate-1, in canary (offline: it waits)",
        "The groups are as the file says.",
        "gate-1: waits: it is not online",
        "release 1.0.0 of tidegate-gateway (pinned; channel stable)",
    ):
        assert expected in done.stdout, f"{expected!r} is missing in:\n{done.stdout}"
