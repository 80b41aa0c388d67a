"""docs/gitops.md, from top to bottom: bash on this machine and a real server; its gateways are only registered."""

from __future__ import annotations

from pathlib import Path

import pytest
from registered_page import output_of

pytestmark = pytest.mark.server


def test_the_page_on_fleets_from_top_to_bottom(tmp_path: Path) -> None:
    printed = output_of("gitops.md", "fleet", tmp_path)
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
        assert expected in printed, f"{expected!r} is missing in:\n{printed}"
