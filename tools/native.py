#!/usr/bin/env python3
"""Build the native modules of firmware/native: build/native/ARCH/MODULE.mpy.

Fetches first, once, the source of the library that Ed25519 verification is made from: the PyPI source package that
firmware/native/monocypher.txt pins by version and SHA-256, through pip, so that a mirror or an offline folder that pip
knows is used. Two files of it go to .toolchain/monocypher; nothing of it is kept in the repository.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NATIVE = ROOT / "firmware" / "native"
PIN = NATIVE / "monocypher.txt"
OUT = ROOT / "build" / "native"
MONOCYPHER = ROOT / ".toolchain" / "monocypher"
SOURCES = ("monocypher.c", "monocypher.h")
STAMP = "pin.txt"
ARCHES = ("armv6m", "armv7m", "armv7emsp", "armv7emdp")  # those that images are made for
HOST_ARCHES = ("x64",)  # for tests on this machine's unix port
FETCH_TIMEOUT_S = 300


class NativeError(Exception):
    """What went wrong and what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def fetch() -> None:
    """Put monocypher.c and monocypher.h where the build expects them, unless the pinned ones are there."""
    pin = PIN.read_text()
    stamp = MONOCYPHER / STAMP
    if stamp.exists() and stamp.read_text() == pin and all((MONOCYPHER / name).exists() for name in SOURCES):
        return
    named = re.search(r"^([\w-]+)==(\S+) --hash=", pin, re.MULTILINE)
    if not named:
        raise NativeError(f"{PIN} pins no package", "restore it: NAME==VERSION --hash=sha256:HEX")
    package, version = named.groups()
    print(f"native: fetching the source of {package} {version}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tidegate-native-") as name:
        folder = Path(name)
        _download(package, folder)
        try:
            with tarfile.open(folder / f"{package}-{version}.tar.gz") as archive:
                MONOCYPHER.mkdir(parents=True, exist_ok=True)
                for source in SOURCES:
                    member = archive.extractfile(f"{package}-{version}/{source}")
                    if member is None:
                        raise KeyError(source)
                    (MONOCYPHER / source).write_bytes(member.read())
        except (OSError, KeyError, tarfile.TarError) as error:
            raise NativeError(
                f"the source package of {package} {version} is not as expected: {error}", "report this as a bug"
            ) from None
    stamp.write_text(pin)  # last: until it is there, nothing counts as fetched


def _download(package: str, folder: Path) -> None:
    """The pinned source archive, by pip, which compares its SHA-256."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-binary", package, "--require-hashes", "--retries", "2", "--dest", str(folder), "-r", str(PIN)]
    remedy = "check the network and pip's index, then run again: python tools/native.py"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise NativeError(f"fetching {package} took more than {FETCH_TIMEOUT_S} s", remedy) from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        why = lines[0].removeprefix("ERROR: ") if lines else f"pip ended with {done.returncode}"
        raise NativeError(f"{package} cannot be fetched: {why}", remedy)


def build(arches: list[str]) -> None:
    command = ["make", "--no-print-directory", "-s", "-C", str(NATIVE), f"ARCHES={' '.join(arches)}"]
    done = subprocess.run([*command, f"PYTHON={sys.executable}"], capture_output=True, text=True)
    if done.returncode:
        raise NativeError(f"the native modules do not build:\n{(done.stdout + done.stderr)[-4000:]}", "see above")
    for arch in arches:
        check(OUT / arch)


def check(folder: Path) -> None:
    """Refuses, and removes, a module made from an object that the linker is known to make something wrong of."""
    from native_objects import faults  # not above: what reads object files is installed with what builds them

    for module in sorted(folder.glob("*.mpy")):
        for compiled in sorted((folder / "objects" / module.stem).rglob("*.o")):
            if wrong := faults(compiled):
                module.unlink()
                compiled.unlink()  # so that it is made again
                raise NativeError(f"{compiled} must not be linked: {'; '.join(wrong)}", "mend its source, see above")


def host_arches() -> list[str]:
    """The unix port's own, where it can load machine code and the compiler makes it."""
    return list(HOST_ARCHES) if os.uname().machine == "x86_64" else []


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Build the native modules into build/native/ARCH.", epilog="Example: python tools/native.py armv7m"
    )
    known = [*ARCHES, *HOST_ARCHES]
    parser.add_argument("arch", nargs="*", metavar="ARCH", help=f"of {', '.join(known)}; default: all this machine can")
    options = parser.parse_args(arguments)
    unknown = [arch for arch in options.arch if arch not in known]
    if unknown:
        parser.error(f"no such core: {unknown[0]}; known: {', '.join(known)}")
    try:
        fetch()
        build(options.arch or [*ARCHES, *host_arches()])
    except NativeError as error:
        print(f"native: error: {error}\nnative: remedy: {error.remedy}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
