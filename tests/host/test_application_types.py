"""The types that editors are given of what an application imports: they are those of the device's code, and they find
mistakes in an application.

Ground: mypy's stubtest, which compares stubs with the modules themselves, and mypy in a new project.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tidegate.project import create

ROOT = Path(__file__).resolve().parents[2]
TYPES = ROOT / "firmware" / "typings"
MODULES = ("gate", "cbor", "senml_cbor", "mqtt")


def python(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, *map(str, words)]
    return subprocess.run(
        program, capture_output=True, text=True, env={**os.environ, **environment}, cwd=ROOT / "tests"
    )


@pytest.fixture
def made(tmp_path: Path) -> Path:
    answers = create.Answers("my-gateway", "acme.example", ("unix",))
    return create.create(tmp_path / "my-gateway", answers).folder


def mypy(folder: Path) -> str:
    done = python(
        "-m",
        "mypy",
        "--config-file",
        folder / "mypy.ini",
        "--cache-dir",
        os.devnull,
        folder / "app",
        MYPYPATH=str(folder / "typings"),
    )
    return done.stdout + done.stderr


def test_they_are_those_of_the_device_s_code() -> None:
    done = python(
        "-m", "mypy.stubtest", "--ignore-missing-stub", "--concise", *MODULES,
        MYPYPATH=str(TYPES), PYTHONPATH=str(ROOT / "firmware" / "lib"), TZ="UTC",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_new_application_passes(made: Path) -> None:
    assert mypy(made).startswith("Success"), mypy(made)


def test_mistakes_are_found(made: Path) -> None:
    (made / "app" / "__init__.py").write_text(
        "from gate import health, measuremnt, measurement, setting\n"
        "limit = setting('limit', int, 0, 100, 'forty')\n"
        "mode = setting('mode', str, 1, 8, 'auto')\n"
        "mode.value + 1\n"
        "@measurement('t', 'Cel')\n"
        "def t() -> str:\n    return 'warm'\n"
        "@health\n"
        "def healthy(more: int) -> bool:\n    return True\n"
    )
    lines = [line for line in mypy(made).splitlines() if ": error: " in line]
    assert [int(line.split(":")[1]) for line in lines] == [1, 2, 4, 5, 8], lines
