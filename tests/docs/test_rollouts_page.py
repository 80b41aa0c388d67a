"""docs/rollouts.md, from top to bottom: bash on this machine and a real server; its gateways are only registered."""

from __future__ import annotations

from pathlib import Path

import pytest
from registered_page import output_of

pytestmark = pytest.mark.server


def test_the_page_on_rollouts_from_top_to_bottom(tmp_path: Path) -> None:
    printed = output_of("rollouts.md", "waves", tmp_path)
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
        assert expected in printed, f"{expected!r} is missing in:\n{printed}"
