"""Runs a project's tests on CPython, on MicroPython for Linux and on the emulated board.

A test is a function test_... without parameters in a file tests/test_*.py; it passes unless it raises. On the board the
project's image is flashed and mounted, so that what is tested is what devices get.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tidegate import libraries, library
from tidegate.dev.boards import EMULATED, EmulatedBoard
from tidegate.dev.workplace import NoServer, alone, development_keys, request_for
from tidegate.doctor import LINUX_MICROPYTHON
from tidegate.errors import TidegateError
from tidegate.files import write_atomic
from tidegate.flash import loader_image
from tidegate.flash.serial_session import BoardError, Session
from tidegate.project import Project
from tidegate.release import build_release, load_release, sign_release

GROUNDS = ("cpython", "unix", "board")
TIMEOUT_S = 60  # a file
TEST_TIMEOUT_S = 30  # a test on the board
# Runs on every ground. Its lines begin with a mark, so that what tests print is told apart.
RUNNER = """
def _tg_trace(error):
    import sys
    if hasattr(sys, "print_exception"):
        sys.print_exception(error)
    else:
        import traceback
        traceback.print_exception(error)

def _tg_test(name, function):
    try:
        function()
        print("\\x1d ok %s" % name)
    except BaseException as error:
        _tg_trace(error)
        print("\\x1d FAILED %s" % name)
"""
_MARK = "\x1d"
_MOUNT = """
import sys, vfs
from boot.board import Board
from boot import select
_tg_boot = select.select(Board())
vfs.mount(_tg_boot.file_system(), "/rom")
sys.path[1:1] = ["/rom/lib", "/rom"]
"""


@dataclass(frozen=True)
class Result:
    """How a test ended on a ground. output: what it printed, and its trace."""

    ground: str
    test: str
    passed: bool
    output: str


class NotHere(TidegateError):
    """This machine lacks what a ground needs."""


def find(project: Project, pattern: str = "") -> dict[Path, list[str]]:
    """The tests of each file, in their order; `pattern` is part of "file.test". TidegateError where there is none."""
    found = {}
    for path in sorted((project.folder / "tests").glob("test_*.py")):
        try:
            tree = ast.parse(path.read_text())
        except (SyntaxError, ValueError) as error:
            raise TidegateError(f"{path}: {error}", "Correct it") from error
        functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        names = [name for name in functions if name.startswith("test_") and pattern in f"{path.stem}.{name}"]
        if names:
            found[path] = names
    if not found:
        raise TidegateError(
            f"there is no test{f' with {pattern!r} in its name' if pattern else ''} in {project.folder}/tests",
            "Write a function test_... in a file tests/test_*.py",
        )
    return found


def run(project: Project, ground: str, tests: dict[Path, list[str]]) -> Iterator[Result]:
    """The results of `tests` on one ground, as they come; NotHere if this machine cannot run it."""
    if ground == "board":
        yield from _on_board(project, tests)
        return
    command = [sys.executable, "-B"] if ground == "cpython" else [_micropython()]
    with tempfile.TemporaryDirectory(prefix="tidegate-") as others:
        _put_libraries(project, Path(others))
        for path, names in tests.items():
            yield from _results(ground, path, names, _script(project, Path(others), command, path, names))


def _micropython() -> str:
    path = Path(os.environ.get("TIDEGATE_UNIX_MICROPYTHON", library.folder() / LINUX_MICROPYTHON))
    if not os.access(path, os.X_OK):
        raise NotHere("MicroPython for Linux is not here", "`tidegate doctor` says how it comes")
    return str(path)


def _put_libraries(project: Project, folder: Path) -> None:
    """The libraries of others in one `folder`, as they are in /lib of an image."""
    libraries.ready(project.sources)
    for name, source in libraries.files(project.sources):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / name)


def _script(project: Project, others: Path, command: list[str], path: Path, names: list[str]) -> str:
    """What the tests of one file print on this machine, each with its end."""
    ours = library.folder() / "firmware" / "lib"
    places = (project.folder / "tests", ours, others, (project.folder / project.app).parent)
    folders = [str(place) for place in places]
    lines = [f"import sys; sys.path[:0] = {folders!r}", RUNNER, f"import {path.stem} as _tg_module"]
    lines += [f"_tg_test({name!r}, _tg_module.{name})" for name in names]
    project.work.mkdir(exist_ok=True)
    script = project.work / "test.py"
    write_atomic(script, "\n".join(lines).encode())
    try:
        done = subprocess.run(
            [*command, str(script)],
            cwd=project.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        return f"{(error.output or b'').decode(errors='replace')}\nstopped after {TIMEOUT_S} s"
    return done.stdout.decode(errors="replace")


def _results(ground: str, path: Path, names: list[str], output: str) -> Iterator[Result]:
    """What a run of one file says of its tests; those it did not come to have failed."""
    left, text = list(names), ""
    for line in output.replace("\r", "").split("\n"):  # splitlines would end a line at the mark
        if line.startswith(_MARK):
            how, name = line.removeprefix(_MARK).split()
            left.remove(name)
            yield Result(ground, f"{path.stem}.{name}", how == "ok", text.strip("\n"))
            text = ""
        else:
            text += line + "\n"
    for name in left:
        yield Result(ground, f"{path.stem}.{name}", False, text.strip("\n") or "was not reached")


def _on_board(project: Project, tests: dict[Path, list[str]]) -> Iterator[Result]:
    folder = project.work / "test"
    with alone(folder):
        key, _ = development_keys(folder / "keys", folder / "trust.cbor")
        write_atomic(folder / "credentials.json", json.dumps({"user": "test", "password": "test"}).encode(), mode=0o600)
        made = build_release(
            project.sources,
            folder / "release",
            board_names=[EMULATED],
            version="0",
            sequence=1,
            product=project.product,
            vendor=project.vendor,
        )
        sign_release(made, [key])
        request = request_for(project, load_release(made.folder), folder, "test", EmulatedBoard.host, NoServer())
        try:
            board = EmulatedBoard(folder)
        except TidegateError as error:
            raise NotHere(error.message, error.remedy) from error
        try:
            board.flash(request, lambda what, done, total: None)
            with board.port() as port:
                yield from _over_serial(port, loader_image.reach(request.board), tests)
        finally:
            board.stop()


def _over_serial(port: str, reach: str, tests: dict[Path, list[str]]) -> Iterator[Result]:
    """The results of each file, in a fresh MicroPython that has the image mounted."""
    for path, names in tests.items():
        with Session(port) as session:
            session.run(reach + _MOUNT + RUNNER)
            calls = [f"_tg_module = {{}}\nexec({path.read_text()!r}, _tg_module)"]
            calls += [f"_tg_test({name!r}, _tg_module[{name!r}])" for name in names]
            output = "".join(_said(session, call) for call in calls)
        yield from _results("board", path, names, output)


def _said(session: Session, code: str) -> str:
    try:
        return session.run(code, TEST_TIMEOUT_S)
    except BoardError as error:
        return f"{error.message}\n"
