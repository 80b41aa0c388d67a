"""What a newcomer types, word for word, on a machine with Python, git and QEMU: the wheel, a project, `tidegate dev`.

Ground: the wheel in a virtual environment of its own, a folder outside of any checkout, the emulated Cortex-M3, and
MicroPython's unix port.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import installed_wheel
import mip_index
import pytest
from patience import limit

from tidegate.boards.emulator import Emulator

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
QUIET_S = 60  # on a quiet machine each step of a session takes less


class Dev:
    """`tidegate dev` in a project; `output` is what it has printed."""

    def __init__(self, program: Path, project: Path, board: str, *more: str):
        self._log = project.parent / "dev.log"
        self._seen = 0
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["tidegate", "dev", "--board", board, *more],
                cwd=project,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=installed_wheel.environment(program),
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait(self, pattern: str) -> re.Match[str]:
        """The next place in the output, after the last one found, where `pattern` is."""
        deadline = time.monotonic() + limit(QUIET_S)
        while not (found := re.compile(pattern, re.MULTILINE).search(self.output, self._seen)):
            assert self.process.poll() is None and time.monotonic() < deadline, (pattern, self.output)
            time.sleep(0.05)
        self._seen = found.end()
        return found

    def end(self) -> int:
        """Ctrl-C, once; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(limit(QUIET_S))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    return installed_wheel.install(installed_wheel.build(folder / "wheel"), folder / "venv")


@pytest.fixture
def project(program: Path, tmp_path: Path) -> Path:
    tidegate(program, tmp_path, "new", "my-gateway", "--vendor", "acme.example")
    return tmp_path / "my-gateway"


def tidegate(program: Path, folder: Path, *words: str, code: int = 0, environment: dict[str, str] | None = None) -> str:
    """What `tidegate ...` prints, run in `folder` with nothing of ours in the environment."""
    done = subprocess.run(
        ["tidegate", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment or installed_wheel.environment(program),
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def left_running(folder: Path) -> Iterator[str]:
    """The command lines of processes that have to do with `folder`."""
    return (command for _, command in running(folder))


def running(folder: Path) -> Iterator[tuple[int, str]]:
    """The same, with their numbers."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        except OSError:  # it has ended, or is another user's
            continue
        if int(entry.name) != os.getpid() and str(folder).encode() in command + environment:
            yield int(entry.name), command.decode(errors="replace").replace("\0", " ")


def test_the_tutorial_from_top_to_bottom(program: Path, tmp_path: Path) -> None:
    """Every command of docs/tutorial.md, and what it shows of the answers; only figures may differ."""
    dev: Dev | None = None
    session = ""
    printed = ""
    try:
        with mip_index.serve() as index:
            index.add("uuid", "0.1.0", {"uuid.py": "def uuid4():\n    return 4\n"})
            for kind, text in re.findall(r"^```(sh|text)\n(.*?)^```$", TUTORIAL.read_text(), re.DOTALL | re.MULTILINE):
                if kind == "text":
                    assert dev
                    for line in text.splitlines():
                        dev.wait(as_shown(line))
                elif re.search("^tidegate dev$", text, re.MULTILINE):
                    dev = Dev(program, tmp_path / "my-gateway", "qemu_mps2")
                else:
                    script = text.replace("tidegate lock", f"tidegate lock --index {index.url}")
                    if ". .tidegate/dev/env" in text:
                        session = "cd my-gateway\n. .tidegate/dev/env\n"
                        script = script.replace(session, "")
                    if "tidegate test" in text:  # where the page ends the session
                        assert dev and dev.end() == 0, dev and dev.output
                        assert not list(left_running(tmp_path / "my-gateway")), dev.output
                        session = "cd my-gateway\n"
                    printed += shell(program, tmp_path, session + script)
    finally:
        if dev:
            dev.end()
    for expected in (
        r"damp +no\b|damp: false",
        r"damp +yes\b|damp: true",
        "4 passed, 0 failed",
        "0.1.0, signed",
    ):
        assert re.search(expected, printed, re.MULTILINE), (expected, printed)


def as_shown(line: str) -> str:
    """The pattern of a line that the tutorial shows: durations, sizes and the count of saves differ."""
    pattern = re.escape(line)
    for figure in (r"(?<=dev\\.)\d+", r"\d+(?=\\ bytes)", r"\d+\\\.\d(?=\\ s\\ after)"):
        pattern = re.sub(figure, lambda found: r"[\d.]+", pattern)
    return f"^{pattern}$"


def shell(program: Path, folder: Path, script: str) -> str:
    """What the script prints."""
    done = subprocess.run(
        ["bash", "-euc", script], cwd=folder, capture_output=True, text=True, env=installed_wheel.environment(program)
    )
    assert done.returncode == 0, script + done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("board", ("unix",))  # the tutorial does the same on the emulated one
def test_every_save_is_on_the_board_and_a_broken_one_goes_back(program: Path, project: Path, board: str) -> None:
    app = project / "app" / "__init__.py"
    good = app.read_text()
    dev = Dev(program, project, board)
    try:
        dev.wait(r"^OK     0\.1\.0\+dev\.1 runs on the board")

        app.write_text(good.replace('"temperature", "Cel"', '"room", "Cel"'))
        dev.wait(r"^dev    saved app/__init__\.py$")
        dev.wait(r"dev\.2 published, patch of \d{2,3} bytes")
        dev.wait(r"^board  tidegate: trial 1 of 3")
        dev.wait(r"^OK     0\.1\.0\+dev\.2 is confirmed, \d+\.\d s after the save$")

        app.write_text(good + '\n\n@measurement("odd")\ndef odd():\n    return 1 // 0\n')
        dev.wait(r"dev\.3 published")
        dev.wait(r"^ERROR  tidegate: error: source \w+: ZeroDivisionError: divide by zero")
        app.write_text(good)
        dev.wait(r"^OK     0\.1\.0\+dev\.4 is confirmed")

        app.write_text(good + "def broken(:\n")
        dev.wait(rf'^ERROR  {app} does not compile:\n.*\nERROR    File "{app}", line \d+\nERROR  SyntaxError')

        app.write_text(good + "print(1 // 0)\n")
        dev.wait(r'^board    File "app/__init__\.py", line \d+, in <module>\nboard  ZeroDivisionError: divide by zero$')
        dev.wait(r"^ERROR  0\.1\.0\+dev\.5 rolled-back: .*ZeroDivisionError.*; the board is back at 0\.1\.0\+dev\.4,")

        app.write_text(good)
        dev.wait(r"^OK     0\.1\.0\+dev\.6 is confirmed")

        app.write_text(good + "one = 1\n")
        dev.wait(r"^board  tidegate: sequence 7 installed")
        app.write_text(good + "print(1 // 0)\n")  # while the board is at the one before
        dev.wait(r"^OK     0\.1\.0\+dev\.7 is confirmed")
        dev.wait(r"^ERROR  0\.1\.0\+dev\.8 rolled-back: .*; the board is back at 0\.1\.0\+dev\.7,")
        app.write_text(good)
        dev.wait(r"^board  tidegate: sequence 9 offered, patch of")
        dev.wait(r"^OK     0\.1\.0\+dev\.9 is confirmed")
        assert "runs in this project already" in tidegate(program, project, "dev", "--board", board, code=1)
    finally:
        code = dev.end()
    assert code == 0, dev.output
    assert not list(left_running(project)), dev.output


@pytest.mark.parametrize("step", ("starting a server", "flashing"))
def test_ctrl_c_before_the_session_has_begun(program: Path, project: Path, step: str) -> None:
    """With nothing left of it: neither a process nor a key whose other half is missing."""
    dev = Dev(program, project, "unix")
    dev.wait(rf"^dev    {step}")
    assert dev.end() == 130 and dev.output.endswith("\nInterrupted\n"), dev.output
    assert not list(left_running(project)), dev.output
    halves = {path.name for path in (project / ".tidegate" / "dev" / "keys").iterdir()}
    assert halves == {f"{role}.jwk{half}" for role in ("release", "command", "root") for half in ("", ".pub")}


def test_an_application_that_never_ran_is_flashed_again(program: Path, project: Path) -> None:
    """Nothing but the serial port reaches a board whose first image crashes."""
    app = project / "app" / "__init__.py"
    good = app.read_text()
    app.write_text("nowhere = __import__('nowhere')\n" + good)
    file = project / "tidegate.toml"
    dev = Dev(program, project, "unix")
    try:
        dev.wait(r"^board  ImportError: no module named 'nowhere'")
        (project / "lib").mkdir()
        (project / "lib" / "nowhere.py").write_text("")
        file.write_text(file.read_text() + '\n[libraries]\nrequires = ["./lib"]\n')
        dev.wait(r"^OK     0\.1\.0\+dev\.2 runs on the board")
    finally:
        dev.process.send_signal(signal.SIGTERM)
        dev.process.wait(limit(QUIET_S))
    assert not list(left_running(project)), dev.output


@pytest.mark.parametrize("what", ("qemu-system-arm", "serve"))
def test_a_board_or_server_that_is_gone_ends_it(program: Path, project: Path, what: str) -> None:
    """QEMU while it is being flashed, the server when it has hardly begun."""
    dev = Dev(program, project, "qemu_mps2")
    try:
        dev.wait(r"^dev    flashing 0\.1\.0")
        (gone,) = [pid for pid, command in running(project) if re.search(rf"(?:^|/| ){what} ", command)]
        os.kill(gone, signal.SIGKILL)
        assert dev.process.wait(limit(QUIET_S)) == 1, dev.output
    finally:
        dev.process.kill()
        dev.process.wait()
    name = "the server" if what == "serve" else "the board qemu_mps2"
    assert re.search(rf"^Error: {name} is gone: .* ended.*\n  Run `tidegate dev` again; /", dev.output, re.MULTILINE)
    assert not list(left_running(project)), dev.output


def test_a_board_at_a_port(program: Path, project: Path, tmp_path: Path) -> None:
    """Run by somebody else, an emulated one stands for that on the bench: it goes on when the session has ended."""
    said = tidegate(program, project, "dev", "--port", "/dev/null", "--board", "qemu_mps2", code=1)
    assert "there is no terminal to ask at" in said
    assert "Name its serial port with --port" in tidegate(program, project, "dev", "--board", "rpi_pico_w", code=1)
    with Emulator(tmp_path / "bench.flash") as board:
        dev = Dev(program, project, "qemu_mps2", "--port", board.pty, "--host", "10.0.2.2", "--yes")
        try:
            dev.wait(r"^OK     0\.1\.0\+dev\.1 runs on the board")
            app = project / "app" / "__init__.py"
            app.write_text(app.read_text() + "one = 1\n")
            dev.wait(r"^board  tidegate: sequence 2 confirmed")
        finally:
            code = dev.end()
        assert code == 0 and board.alive, dev.output
    assert not list(left_running(project)), dev.output


def test_development_keys_stay_out_of_production(program: Path, project: Path) -> None:
    dev = Dev(program, project, "unix")
    dev.wait("flashing")
    dev.process.kill()  # no time to end anything: its children end by themselves
    dev.process.wait()
    keys = project / ".tidegate" / "dev" / "keys"
    files = [str(keys / f"{role}.jwk.pub") for role in ("release", "command", "root")]
    said = tidegate(program, project, "trust", "new", "--out", "trust.cbor", *files, code=1)
    assert "is a development key, which boards in the field must not trust" in said
    assert "tidegate key new --role release" in said
    assert not (project / "trust.cbor").exists()
    assert (keys / "release.jwk").stat().st_mode & 0o077 == 0
    deadline = time.monotonic() + limit(10)
    while left := [line for line in left_running(project) if "serve" in line]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_the_project_s_tests_run_on_every_ground(program: Path, project: Path) -> None:
    said = tidegate(program, project, "test")
    passed = re.findall(r"^ok +(\w+) +test_app\.(\w+)$", said, re.MULTILINE)
    assert {ground for ground, _ in passed} == {"cpython", "unix", "board"} and len(passed) == 6, said
    assert "6 passed, 0 failed" in said
    (project / "tests" / "test_wrong.py").write_text(
        "import app\ndef test_wrong():\n    print('hello')\n    assert app.temperature() == 7, 'seven'\n"
        "def test_exit():\n    raise SystemExit\n"
    )
    said = tidegate(program, project, "test", "-k", "wrong", "--ground", "unix", "--ground", "board", code=1)
    for ground in ("unix", "board"):
        assert re.search(rf"FAILED +{ground} +test_wrong\.test_wrong\n +hello\n(.*\n)+? +AssertionError: seven\n", said)
        assert re.search(rf"FAILED +{ground} +test_wrong\.test_exit\n", said)
    assert "4 of 4 tests failed: test_wrong.test_wrong (unix)" in said
    assert "there is no test with 'nothing'" in tidegate(program, project, "test", "-k", "nothing", code=1)
    assert not list(left_running(project))


def test_the_heap_at_rest_is_measured_once_an_image(program: Path, project: Path) -> None:
    """A list that the application holds is in the figure; the second question starts no board."""
    before = json.loads(tidegate(program, project, "size", "--ram", "--json"))["ram"]
    assert 40_000 < before["live"] < 100_000 and before["largest"] <= before["free"], before
    assert 120_000 < before["live"] + before["free"] < 140_000 and before["change"] is None, before
    without_qemu = {**installed_wheel.environment(program), "PATH": str(program.parent)}
    said = tidegate(program, project, "size", "--ram", environment=without_qemu)
    assert re.search(rf"^ +{before['live']} +live$", said, re.MULTILINE), said

    app = project / "app" / "__init__.py"
    app.write_text(app.read_text() + "\nheld = bytearray(10_500)\n")
    said = tidegate(program, project, "size", "--ram", code=1, environment=without_qemu)
    assert "qemu-system-arm is not installed" in said and "apt install qemu-system-arm" in said
    after = json.loads(tidegate(program, project, "size", "--ram", "--json"))["ram"]
    assert 10_000 <= after["live"] - before["live"] < 11_000, (before, after)
    app.write_text(app.read_text() + "\nprint(1 // 0)\n")
    said = tidegate(program, project, "size", "--ram", code=1)
    assert "was not measured" in said and "ZeroDivisionError: divide by zero" in said, said
    assert not list(left_running(project))
