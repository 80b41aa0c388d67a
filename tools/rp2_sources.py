#!/usr/bin/env python3
"""Lay out what MicroPython for the Pico is built from, in .toolchain/rp2: boards/rpi_pico/Makefile asks for it.

    .venv/bin/python tools/rp2_sources.py

MicroPython's own tree (tools/toolchain.py) has no pico-sdk and no tinyusb. Both come as Debian 13's packages of
sources, through apt with private folders; the tree is copied, because the port looks for tinyusb inside of it. There
is no radio: the driver of the Pico W's is in no registry.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import programs
import toolchain
from toolchain import ToolchainError, say

PLACE = toolchain.HOME / "rp2"
# Package -> where its sources are in it, and where they are laid. Their versions do not move within a stable release;
# apt checks the signature of the list that has their digests.
PACKAGES = {
    "pico-sdk-source": ("usr/src/pico-sdk", "pico-sdk"),
    "tinyusb-source": ("usr/src/tinyusb", "micropython/lib/tinyusb"),
}
PARTS = ("py", "extmod", "shared", "drivers", "tools", "mpy-cross", "ports/rp2")  # of MicroPython; and lib/*
_STAMP = ".tidegate-sources"


def recipe() -> str:
    """A text that changes whenever the tree would come out differently."""
    return f"{toolchain.recipe()}{PACKAGES}\n{PARTS}\n"


def prepare() -> Path:
    """Make sure that .toolchain/rp2 is there and whole; raises ToolchainError with a remedy."""
    tree = toolchain.prepare()
    with toolchain.lock(toolchain.HOME / "lock"):
        if (PLACE / _STAMP).is_file() and (PLACE / _STAMP).read_text() == recipe():
            return PLACE
        mirror = toolchain.debian_mirror()
        if not mirror:
            raise ToolchainError(
                "apt knows no Debian mirror on this machine", "build it on Debian; nothing else was tried"
            )
        with tempfile.TemporaryDirectory(dir=toolchain.HOME, prefix="fetch-") as name:
            fresh = Path(name) / "rp2"
            _copy(tree, fresh / "micropython")
            _fetch(mirror, Path(name), fresh)
            # The SDK links against libstdc++, of which it takes nothing: Debian's has 313 MB.
            (fresh / "lib").mkdir()
            _run(programs.require("arm-none-eabi-ar"), "rcs", fresh / "lib" / "libstdc++.a")
            (fresh / _STAMP).write_text(recipe())
            shutil.rmtree(PLACE, ignore_errors=True)
            fresh.rename(PLACE)
    say(f"the sources of MicroPython for RP2 boards are ready in {PLACE.relative_to(toolchain.ROOT)}")
    return PLACE


def _copy(tree: Path, to: Path) -> None:
    for part in PARTS:
        shutil.copytree(tree / part, to / part, symlinks=True)
    for library in (tree / "lib").iterdir():
        if library.is_dir() and library.name != "tinyusb":
            unused = shutil.ignore_patterns("tests", "test") if library.name in ("mbedtls", "lwip") else None
            shutil.copytree(library, to / "lib" / library.name, symlinks=True, ignore=unused)


def _fetch(mirror: str, scratch: Path, to: Path) -> None:
    say(f"reading the package lists of Debian {toolchain.SUITE} (about 10 MB)")
    apt = toolchain.PrivateApt(scratch / "apt", mirror, "amd64")  # they are for all architectures
    apt.run("update")
    for package, (inside, place) in PACKAGES.items():
        say(f"fetching {package}")
        apt.run("download", package)
        [archive] = apt.packages.glob(f"{package}_*.deb")
        _run(programs.require("dpkg-deb"), "-x", archive, scratch / package)
        (to / place).parent.mkdir(parents=True, exist_ok=True)
        (scratch / package / inside).rename(to / place)


def _run(*words: object) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        raise ToolchainError(f"{words[0]} failed: {done.stderr.strip()}", "report this as a bug")


def main() -> int:
    argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], epilog="Example: .venv/bin/python tools/rp2_sources.py"
    ).parse_args()
    try:
        prepare()
    except (ToolchainError, programs.MissingProgram) as error:
        print(f"toolchain: error: {error}", file=sys.stderr)
        if isinstance(error, ToolchainError):
            print(f"toolchain: remedy: {error.remedy}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
