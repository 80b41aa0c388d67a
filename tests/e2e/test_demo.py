"""`make demo`, whole, as a user runs it: with the broker inside, with mosquitto, and ended by Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from patience import limit

ROOT = Path(__file__).resolve().parent.parent.parent
DEMO = [ROOT / ".venv" / "bin" / "python", ROOT / "tools" / "demo.py"]
TIMEOUT_S = 300


def processes_of(folder: Path) -> list[str]:
    """Command lines that name the demo's folder: what would be left behind."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if entry.name.isdigit() and str(folder) in line and int(entry.name) != os.getpid():
            found.append(line)
    return found


def holds(printed: str) -> None:
    """Whether every step of the demo said what it must."""
    sizes = re.search(r"image (\d+) bytes, patch (\d+) bytes", printed)
    assert sizes and int(sizes[2]) * 50 < int(sizes[1]), "a small change has a small patch"
    for expected in (
        "the board took the patch, not the image",
        "confirmed   sequence 2; state idle, result success",
        "rolled-back sequence 3; state idle, result update-failed",
        "gate-1 answers info",
        "command-refused: unknown-key",
        "command-refused: replay",
        "Every step held",
    ):
        assert expected in printed, f"{expected!r} is missing in:\n{printed}"


def test_every_step_holds_with_mosquitto_and_it_ends_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    command = [*DEMO, "--exit", "--broker", "mosquitto", "--folder", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit(TIMEOUT_S))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    holds(done.stdout)
    assert processes_of(folder) == []


def test_every_step_holds_and_ctrl_c_leaves_no_process_behind(tmp_path: Path) -> None:
    """With the broker inside. It ends with a status page, and only when the user wants it to."""
    folder = tmp_path / "demo"
    demo = subprocess.Popen(
        [*DEMO, "--folder", folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    assert demo.stdout is not None
    said = []
    try:
        for line in demo.stdout:
            said.append(line)
            if address := re.search(r"Status page:\s+(\S+)#token=", line):
                break
        else:
            pytest.fail("the demo ended by itself:\n" + "".join(said[-20:]))
        with urllib.request.urlopen(address[1], timeout=10) as page:
            assert b"Tidegate" in page.read()
        assert len(processes_of(folder)) >= 3, "demo, server and emulator run"
    finally:
        os.killpg(demo.pid, signal.SIGINT)  # as the terminal does
        rest, _ = demo.communicate(timeout=limit(30))
    assert (demo.returncode, rest.strip().splitlines()[-1:]) == (130, ["demo: stopped"])
    deadline = time.monotonic() + limit(5)
    while processes_of(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(folder) == []
    holds("".join(said) + rest)
