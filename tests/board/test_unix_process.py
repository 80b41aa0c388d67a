"""Programs that a Linux gateway starts: no shell, nothing inherited, limits that hold, and an end in time."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from gone import wait_until_gone
from patience import limit

ROOT = Path(__file__).resolve().parent.parent.parent
MICROPYTHON = Path(os.environ.get("TIDEGATE_UNIX_MICROPYTHON", ROOT / "build" / "unix" / "micropython"))

SCRIPT = """
import json, os, sys, time
sys.path.insert(0, "boards/common")
import process
name, arguments, cpu_s, memory, patience_ms = json.loads(os.getenv("PROCESS"))
kept = open("/etc/passwd")  # must not be the program's
try:
    run = process.Process(name, arguments, cpu_s, memory)
except OSError as error:
    print(json.dumps({"error": str(error)}))
    raise SystemExit
began, said = time.ticks_ms(), b""
while True:
    data = run.read()
    if data == b"":
        break
    said += data or b""
    if data is None:
        time.sleep_ms(10)
    if time.ticks_diff(time.ticks_ms(), began) > patience_ms:
        run.kill()
        break
print(json.dumps({"code": run.code, "said": str(said, "utf-8"), "ms": time.ticks_diff(time.ticks_ms(), began)}))
"""


def start(name: str, *arguments: str, cpu_s: int = 5, memory: int = 1 << 28, patience_ms: int = 8000) -> dict[str, Any]:
    asked = json.dumps([name, arguments, cpu_s, memory, patience_ms])
    done = subprocess.run(
        [MICROPYTHON, "-c", SCRIPT],
        cwd=ROOT,
        env={"PROCESS": asked, "PATH": "/nowhere", "SECRET": "hush"},
        capture_output=True,
        text=True,
        timeout=limit(30),
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_it_says_what_the_program_says() -> None:
    told = start("df", "-hP")
    assert told["code"] == 0 and "Filesystem" in told["said"]
    assert start("sh", "-c", "echo out; echo err >&2; exit 7") == {
        "code": 7,
        "said": "out\nerr\n",
        "ms": pytest.approx(0, abs=8000),
    }


def test_arguments_are_words_and_no_shell_sees_them() -> None:
    word = "$(touch /tmp/tidegate-injected); `id` | & > \" ' \\ \n *"
    assert start("printf", "%s", word)["said"] == word
    assert not Path("/tmp/tidegate-injected").exists()


@pytest.mark.parametrize("name", ["no-such-program", "../bin/sh", "/bin/sh", "", "."])
def test_programs_are_found_by_name_in_the_systems_folders(name: str) -> None:
    assert "not installed" in start(name)["error"]


def test_nothing_is_inherited() -> None:
    listed = start("sh", "-c", "env; ls /proc/self/fd; pwd; umask; cat")["said"].split()
    assert not any("SECRET" in word or "nowhere" in word for word in listed)
    assert [word for word in listed if word.isdigit() and len(word) == 1] == ["0", "1", "2", "3"]  # 3: ls reads with it
    assert "/" in listed and "0077" in listed


def test_time_is_limited_and_children_end_too() -> None:
    told = start("sh", "-c", "echo $$; sleep 300 & echo $!; sleep 300", patience_ms=500)
    assert told["code"] == -9 and told["ms"] < 5000
    for number in told["said"].split():
        wait_until_gone(int(number))  # the kernel needs a moment to carry a SIGKILL out


def test_what_cannot_end_is_not_waited_for() -> None:
    # A program that hangs in the kernel, as df does on a dead disk: waitpid says so, or hangs, too.
    stuck = """
def waitpid(pid, status, flags):
    if not flags:
        time.sleep(60)
    return 0
process._waitpid = waitpid
"""
    asked = json.dumps(["sleep", ["300"], 5, 1 << 28, 100])
    script = SCRIPT.replace("name, arguments", stuck + "name, arguments", 1)
    done = subprocess.run(
        [MICROPYTHON, "-c", script], cwd=ROOT, env={"PROCESS": asked}, capture_output=True, text=True, timeout=limit(30)
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["code"] == -9


def test_cpu_is_limited() -> None:
    assert start("sh", "-c", "while :; do :; done", cpu_s=1)["code"] in (-9, -24)


def test_memory_is_limited() -> None:
    assert start("sh", "-c", "x=1; while :; do x=$x$x; done", memory=1 << 26)["code"] != 0


def test_no_file_grows(tmp_path: Path) -> None:
    target = tmp_path / "file"
    assert start("sh", "-c", f"echo x > {target}")["code"] != 0
    assert not target.exists() or target.stat().st_size == 0


def test_no_privileges_are_gained() -> None:
    assert "NoNewPrivs:\t1" in start("cat", "/proc/self/status")["said"]
