"""The types that editors are given of what an application imports: they are those of the device's code, and they find
mistakes in an application.

Ground: mypy's stubtest, which compares stubs with the modules themselves, and mypy in a new project.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import tidegate
from tidegate.project import create, types

ROOT = Path(__file__).resolve().parents[2]
TYPES = ROOT / "firmware" / "typings"
MODULES = ("gate", "cbor", "senml_cbor", "mqtt", "coap", "http_client")


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
        "import gc, time\n"
        "from machine import ADC, Pin\n"
        "from coap.client import Client\n"
        "from http_client.get import get\n"
        "free: int = gc.mem_free() + time.ticks_diff(time.ticks_ms(), 0) + ADC(Pin(26)).read_u16()\n"
        "time.sleep_milliseconds(5)\n"
        "Pin(2).value('high')\n"
        "Client(b'192.0.2.7')\n"
    )
    lines = [line for line in mypy(made).splitlines() if ": error: " in line]
    assert [int(line.split(":")[1]) for line in lines] == [1, 2, 4, 5, 8, 16, 17, 18], lines


def test_the_argument_of_a_command_has_its_type(made: Path) -> None:
    (made / "app" / "__init__.py").write_text(
        "from gate import Call, READ, command, opcode\n"
        "@command('log')\n"
        "async def log(call: Call, lines: int):\n"
        "    call.write(lines)\n"
        "    await call.pauze()\n"
        "    return {'sent': call.sent}\n"
        "@command('bare')\n"
        "def bare(call):\n    pass\n"
        "@command('none')\n"
        "def none():\n    pass\n"
        "@opcode('text', READ)\n"
        "def text(call: Call) -> str:\n    return 'warm'\n"
    )
    lines = [line for line in mypy(made).splitlines() if ": error: " in line]
    assert [int(line.split(":")[1]) for line in lines] == [4, 5, 10, 13], lines


def test_libraries_of_others_need_no_types(made: Path) -> None:
    app = made / "app" / "__init__.py"
    app.write_text("import dew\nimport framebuf\n" + app.read_text())
    assert mypy(made).startswith("Success"), mypy(made)


def test_a_newer_tool_brings_newer_ones_and_an_older_one_leaves_them(made: Path) -> None:
    folder = made / "typings"
    own, ours = folder / "mine.pyi", folder / "mqtt" / "__init__.pyi"
    own.write_text("x: int\n")
    assert not types.refresh(made)
    for wrote in ("0.0.9\n", "0.1.0\n", "", "nonsense"):
        ours.write_text("stale: int\n")
        (folder / "tidegate-version").write_text(wrote)
        assert types.refresh(made) and "class Client" in ours.read_text() and own.read_text() == "x: int\n"
        assert (folder / "tidegate-version").read_text().strip() == tidegate.__version__
    ours.write_text("newer: int\n")
    (folder / "tidegate-version").write_text("99.0.0\n")
    assert not types.refresh(made) and ours.read_text() == "newer: int\n"
    shutil.rmtree(folder)  # somebody who does not want them
    assert not types.refresh(made) and not folder.exists()


def test_building_brings_them(made: Path, cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    ours = made / "typings" / "mqtt" / "__init__.pyi"
    ours.write_text("stale: int\n")
    monkeypatch.chdir(made)
    done = cli("build")
    assert done.exit_code == 0 and "class Client" in ours.read_text(), done.stderr
