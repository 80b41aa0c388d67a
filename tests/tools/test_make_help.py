"""`make help` prints the Makefile's own header, which names every target."""

from __future__ import annotations

import re
import subprocess

from projects import ROOT


def test_make_help_names_every_target() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert shown.returncode == 0 and shown.stderr == "", shown.stderr
    assert not [line for line in shown.stdout.splitlines() if line.startswith("#")] and "PYTHON" not in shown.stdout
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    targets = re.findall(r"^\.PHONY: (.*)", makefile, re.MULTILINE)[0].split()
    assert len(targets) > 20
    assert not [one for one in targets if not re.search(rf"(make |, |and ){one}\b(?!-)", shown.stdout)]
