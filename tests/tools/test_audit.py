"""make audit says what is known, and never that all is well when nobody could be asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import audit
import pytest
from patience import limit

ROOT = Path(__file__).resolve().parents[2]
GOOD = {"name": "click", "version": "8.1", "vulns": []}
BAD = {"name": "flask", "version": "3.0", "vulns": [{"id": "X-1", "aliases": ["CVE-1"], "fix_versions": ["3.1"]}]}
SKIPPED = {"name": "here", "version": "1", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([GOOD, GOOD], audit.NONE, "2 packages, 0 known faults"),
        ([GOOD, BAD], audit.FOUND, "flask 3.0: X-1 (CVE-1), mended in 3.1"),
        ([GOOD, SKIPPED], audit.NONE, "not asked about: here 1"),
        ([BAD, SKIPPED, SKIPPED], audit.FOUND, "X-1"),
        ([SKIPPED], audit.UNKNOWN, "knows only 0 of 1 packages"),
        ([GOOD, SKIPPED, SKIPPED], audit.UNKNOWN, "knows only 1 of 3 packages"),
    ],
)
def test_what_is_known(packages: list[dict], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.report(packages, "pypi") == code
    printed = capsys.readouterr()
    assert said in printed.out + printed.err


def test_nobody_to_ask_is_no_good_news() -> None:
    """Where no database can be reached (or pip-audit is missing) the exit code is 2, and a line says so."""
    nowhere = {**os.environ, **dict.fromkeys(("https_proxy", "HTTPS_PROXY", "http_proxy"), "http://127.0.0.1:9")}
    command = [sys.executable, str(ROOT / "tools/audit.py"), "--service", "osv"]
    done = subprocess.run(command, env=nowhere, capture_output=True, text=True, timeout=limit(120))
    assert done.returncode == audit.UNKNOWN, done.stdout
    assert "nothing is known" in done.stderr and "Traceback" not in done.stderr
