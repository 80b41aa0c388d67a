#!/usr/bin/env python3
"""Prepare a fresh machine: system packages, virtual environment, toolchain, firmware.

Only the standard library, because it runs before anything is installed. Every step looks at its inputs first and
does nothing when they have not changed, so `make demo` and `make test` can call it each time.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
OLDEST_PYTHON = (3, 11)

# What must be on PATH (or pass its probe), and the Debian/Ubuntu package that brings it.
BUILD_PROGRAMS = {
    "git": "git",
    "make": "make",
    "gcc": "gcc",
    "pkg-config": "pkg-config",
    "xz": "xz-utils",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
}
TEST_PROGRAMS = {
    "mosquitto": "mosquitto",
    "mosquitto_passwd": "mosquitto",
    "nats-server": "nats-server",
    "coap-client-notls": "libcoap3-bin",
    "coap-server-notls": "libcoap3-bin",
}
# Tests that need it are skipped, and say so, where it cannot be had: Ubuntu has it only as a snap.
BROWSER = "chromium"


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)


def fail(text: str, remedy: str) -> None:
    print(f"setup: error: {text}\n       {remedy}", file=sys.stderr)
    raise SystemExit(1)


def run(command: list[str], **kwargs) -> None:
    """Run quietly; on failure show what the command said."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)
    if done.returncode:
        sys.stderr.write(done.stdout[-6000:])
        fail(f"`{' '.join(command)}` failed with exit code {done.returncode}", "What it printed is above.")


# ------------------------------------------------------------------ system packages


def _links(*arguments: str) -> bool:
    """Whether a compiler run succeeds: the honest probe for headers and libraries."""
    return subprocess.run(arguments, capture_output=True, input="int main(void){return 0;}", text=True).returncode == 0


def missing_packages(programs: dict[str, str]) -> list[str]:
    missing = {package for program, package in programs.items() if not shutil.which(program, path=search_path())}
    probes: dict[str, Callable[[], bool]] = {
        "libc6-dev": lambda: _links("gcc", "-xc", "-", "-o", "/dev/null"),
        "libffi-dev": lambda: subprocess.run(["pkg-config", "--exists", "libffi"]).returncode == 0,
        "libnewlib-arm-none-eabi": lambda: _links(
            "arm-none-eabi-gcc", "-xc", "-", "--specs=nosys.specs", "-o", "/dev/null"
        ),
        "python3-venv": lambda: all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")),
    }
    for package, probe in probes.items():
        try:
            found = probe()
        except FileNotFoundError:  # the compiler itself is missing
            found = False
        if not found:
            missing.add(package)
    return sorted(missing)


def search_path() -> str:
    """PATH with the sbin folders, where Debian keeps daemons such as mosquitto."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def system_packages(programs: dict[str, str]) -> None:
    missing = missing_packages(programs)
    if not missing:
        return
    install = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if not shutil.which("apt-get"):
        fail(
            f"missing on this system: {', '.join(missing)} (Debian's names)",
            "Install them with your package manager.",
        )
    if os.geteuid() != 0:
        fail(f"missing system packages: {', '.join(missing)}", f"Run once:  sudo {' '.join(install)}")
    say(f"installing system packages: {' '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update"], env=environment)
    run(install, env=environment)
    still = missing_packages(programs)
    if still:
        fail(f"still missing after installing: {', '.join(still)}", "Install them by hand and run again.")


def browser() -> None:
    """A browser to look at the status page with; doing without is no error."""
    if os.geteuid() == 0 and shutil.which("apt-get") and not shutil.which(BROWSER, path=search_path()):
        say("installing a browser for the tests of the status page")
        command = ["apt-get", "install", "-y", "--no-install-recommends", BROWSER]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        if subprocess.run(command, env=environment, capture_output=True).returncode:
            say(f"no {BROWSER} here: the tests of the status page will be skipped")


# ------------------------------------------------------------------ virtual environment


def digest(paths: Iterable[Path], *more: str) -> str:
    seen = hashlib.sha256()
    for path in paths:
        seen.update(path.read_bytes())
    for text in more:
        seen.update(text.encode())
    return seen.hexdigest()


def virtual_environment() -> None:
    stamp = VENV / "tidegate.stamp"
    wanted = digest([ROOT / "pyproject.toml"], sys.version, str(ROOT))
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    say("making the virtual environment in .venv")
    run([sys.executable, "-m", "venv", "--clear", str(VENV)])
    run([str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-e", f"{ROOT}[native,test]"])
    stamp.write_text(wanted)


# ------------------------------------------------------------------ toolchain and firmware


def toolchain_and_firmware(purpose: str) -> None:
    """What the demo boots; for tests the other core as well."""
    shown: dict = {"stdin": subprocess.DEVNULL, "cwd": ROOT}
    if subprocess.run([str(PYTHON), "tools/toolchain.py"], **shown).returncode:
        fail("the MicroPython sources could not be prepared", "What went wrong is above.")
    jobs = str(os.cpu_count() or 1)
    firmwares = [("qemu_mps2",), ("unix",), *([("qemu_mps2", "CPU=m4")] if purpose == "test" else [])]
    for board, *core in firmwares:
        command = [
            "make",
            "--no-print-directory",
            "-s",
            "-j",
            jobs,
            "-C",
            f"boards/{board}",
            f"PYTHON={PYTHON}",
            *core,
        ]
        started = time.monotonic()
        run(command, cwd=ROOT)
        took = time.monotonic() - started
        if took > 5:
            say(f"built the firmware for {' '.join([board, *core])} in {took:.0f} s")


def native_modules(purpose: str) -> None:
    """Machine code for the emulated board; for tests for every core. Without it images do the same, slower."""
    arches = ["armv7m"] if purpose == "demo" else []
    if subprocess.run([str(PYTHON), "tools/native.py", *arches], stdin=subprocess.DEVNULL, cwd=ROOT).returncode:
        say("going on without native modules: signatures and patches are worked on in Python")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog="Example: python3 tools/setup.py --for test",
    )
    parser.add_argument("--for", dest="purpose", choices=("demo", "test"), default="demo")
    options = parser.parse_args()
    if sys.version_info < OLDEST_PYTHON:
        fail(
            f"Python {sys.version.split()[0]} is too old",
            "Tidegate needs Python 3.11 or newer: make PYTHON=python3.11 demo",
        )
    started = time.monotonic()
    system_packages({**BUILD_PROGRAMS, **(TEST_PROGRAMS if options.purpose == "test" else {})})
    if options.purpose == "test":
        browser()
    virtual_environment()
    toolchain_and_firmware(options.purpose)
    native_modules(options.purpose)
    say(f"ready ({time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("setup: interrupted; run it again to go on") from None
