#!/usr/bin/env python3
"""Prepare a fresh machine: system packages, virtual environment, toolchain, firmware.

Only the standard library, because it runs before anything is installed. Every step looks at its inputs first and
does nothing when they have not changed, so `make demo` and `make test` can call it each time.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import programs

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
OLDEST_PYTHON = (3, 11)
INSTALL = ["apt-get", "install", "-y", "--no-install-recommends"]
APT_ENVIRONMENT = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)


def fail(text: str, remedy: str) -> None:
    print(f"setup: error: {text}\n       {remedy}", file=sys.stderr)
    raise SystemExit(1)


def run(command: list[str], **kwargs: Any) -> None:
    """Run quietly; on failure show what the command said."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kwargs)
    if done.returncode:
        sys.stderr.write(done.stdout[-6000:])
        fail(f"`{' '.join(command)}` failed with exit code {done.returncode}", "What it printed is above.")


# ------------------------------------------------------------------ system packages


def system_packages(purpose: str) -> None:
    """Install what tools/programs.py says this purpose needs, or say which command does."""
    missing = programs.missing_packages(purpose)
    if missing:
        if not shutil.which("apt-get"):
            fail(
                f"missing on this system: {', '.join(missing)} (Debian's names)",
                "Install them with your package manager.",
            )
        if os.geteuid() != 0:
            remedy = f"Run once:  sudo apt-get install -y --no-install-recommends {' '.join(missing)}"
            fail(f"missing system packages: {', '.join(missing)}", remedy)
        say(f"installing system packages: {' '.join(missing)}")
        run(["apt-get", "update"], env=APT_ENVIRONMENT)
        run([*INSTALL, *missing], env=APT_ENVIRONMENT)
        still = programs.missing_packages(purpose)
        if still:
            fail(f"still missing after installing: {', '.join(still)}", "Install them by hand and run again.")
    if os.geteuid() == 0 and shutil.which("apt-get"):
        for package in programs.missing_packages(purpose, optional=True):
            say(f"installing {package}, which some tests need")
            if subprocess.run([*INSTALL, package], env=APT_ENVIRONMENT, capture_output=True).returncode:
                say(f"{package} cannot be had here: the tests that need it will be skipped")


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
    run(
        [
            str(PYTHON),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-e",
            f"{ROOT}[dist,native,test]",
        ]
    )
    stamp.write_text(wanted)


# ------------------------------------------------------------------ toolchain and firmware


def toolchain_and_firmware(purpose: str) -> None:
    """What the demo boots; for tests the other core as well."""
    shown: dict[str, Any] = {"stdin": subprocess.DEVNULL, "cwd": ROOT}
    if subprocess.run([str(PYTHON), "tools/toolchain.py"], **shown).returncode:
        fail("the MicroPython sources could not be prepared", "What went wrong is above.")
    jobs = str(os.cpu_count() or 1)
    firmwares: list[tuple[str, ...]] = [("qemu_mps2",), ("unix",)]
    if purpose == programs.TEST:
        firmwares.append(("qemu_mps2", "CPU=m4"))
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
        # Mostly there is nothing to build; what takes longer is said.
        word = threading.Timer(3, say, [f"building the firmware for {' '.join([board, *core])}; up to two minutes"])
        started = time.monotonic()
        word.start()
        try:
            run(command, cwd=ROOT)
        finally:
            word.cancel()
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
    parser.add_argument(
        "--for",
        dest="purpose",
        choices=programs.PURPOSES,
        default=programs.DEMO,
        help="what is to be run: make check, demo, test or fresh",
    )
    options = parser.parse_args()
    if sys.version_info < OLDEST_PYTHON:
        fail(
            f"Python {sys.version.split()[0]} is too old",
            "Tidegate needs Python 3.11 or newer: make PYTHON=python3.11 demo",
        )
    started = time.monotonic()
    system_packages(options.purpose)
    if options.purpose != programs.FRESH:
        virtual_environment()
    if options.purpose in (programs.DEMO, programs.TEST):
        toolchain_and_firmware(options.purpose)
        native_modules(options.purpose)
    say(f"ready ({time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("setup: interrupted; run it again to go on") from None
