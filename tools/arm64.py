#!/usr/bin/env python3
"""Fetch Debian 13's MicroPython for ARM64 and make a command of it that runs on this machine, through qemu-user.

    python3 tools/arm64.py                              .toolchain/arm64/micropython, a command like any MicroPython
    TIDEGATE_UNIX_MICROPYTHON=.toolchain/arm64/micropython boards/unix/gateway FOLDER      a gateway as on ARM64

The packages are fetched as the toolchain's sources are: through apt with private folders, from the machine's own
mirror, signatures checked, nothing installed. Running it again does nothing. On an ARM64 machine it is run directly.
Only the standard library is used.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import programs
import toolchain
from toolchain import ToolchainError

HOME = toolchain.HOME / "arm64"
SYSTEM = HOME / "root"
COMMAND = HOME / "micropython"
# The interpreter, and all that it loads.
PACKAGES = ("micropython", "libc6", "libffi8", "libmbedcrypto16", "libmbedtls21", "libmbedx509-7")
# A core without pointer authentication: emulating that costs 37 times as much as all the rest.
CPU = "cortex-a72"


def say(text: str) -> None:
    print(f"arm64: {text}", flush=True)


def emulator() -> list[str]:
    """What a program for ARM64 is started with on this machine; raises MissingProgram without an emulator."""
    if platform.machine() == "aarch64":
        return [str(SYSTEM / "lib/ld-linux-aarch64.so.1"), "--library-path", str(SYSTEM / "usr/lib/aarch64-linux-gnu")]
    return [programs.require("qemu-aarch64"), "-cpu", CPU, "-L", str(SYSTEM)]


def script() -> str:
    """The command's text; it becomes the emulator, so that signals and exit codes are MicroPython's own."""
    words = " ".join(f"'{word}'" for word in [*emulator(), str(SYSTEM / "usr/bin/micropython")])
    return f'#!/bin/sh\nexec {words} "$@"\n'


def fetch(mirror: str) -> None:
    """Unpack the packages into SYSTEM."""
    with tempfile.TemporaryDirectory(dir=HOME, prefix="fetch-") as name:
        apt = toolchain.PrivateApt(Path(name) / "apt", mirror, architecture="arm64")
        say(f"reading the package lists of Debian {toolchain.SUITE} (about 10 MB)")
        apt.run("update")
        say(f"fetching {', '.join(PACKAGES)} (4 MB)")
        apt.run("download", *PACKAGES)
        fresh = Path(name) / "root"
        for package in sorted(apt.packages.glob("*.deb")):
            subprocess.run([programs.require("dpkg-deb"), "--extract", package, fresh], check=True)
        (fresh / "lib").symlink_to("usr/lib")  # as Debian's base-files has it
        shutil.rmtree(SYSTEM, ignore_errors=True)
        fresh.rename(SYSTEM)


def prepare() -> Path:
    """The command, fetched and tried; raises ToolchainError or MissingProgram with a remedy."""
    text = script()
    HOME.mkdir(parents=True, exist_ok=True)
    with toolchain.lock(HOME / "lock"):
        if not (SYSTEM / "usr/bin/micropython").exists():
            mirror = toolchain.debian_mirror()
            if mirror is None:
                raise ToolchainError("apt knows no Debian mirror on this machine", "run this on Debian")
            fetch(mirror)
        if not COMMAND.exists() or COMMAND.read_text() != text:
            COMMAND.write_text(text)
            COMMAND.chmod(0o755)
    return COMMAND


def answer(command: Path) -> str:
    """What it says it is, such as "1.25.0, .mpy 6.3, linux [GCC 14.2.0] version"."""
    question = (
        "import sys; i = sys.implementation; m = i._mpy & 0xffff; "
        "print('%d.%d.%d' % i.version[:3] + ', .mpy %d.%d' % (m & 255, m >> 8 & 3) + ', ' + i._machine)"
    )
    done = subprocess.run([command, "-c", question], capture_output=True, text=True)
    if done.returncode:
        raise ToolchainError(f"{command} does not run: {done.stderr.strip()}", f"remove {HOME} and run this again")
    return done.stdout.strip()


def main() -> int:
    if sys.argv[1:]:
        print(__doc__)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    try:
        command = prepare()
        say(f"MicroPython {answer(command)} in {os.path.relpath(command)}")
    except programs.MissingProgram as error:
        print(f"arm64: error: {error}", file=sys.stderr)
        return 1
    except ToolchainError as error:
        print(f"arm64: error: {error}\narm64: remedy: {error.remedy}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
