#!/usr/bin/env python3
"""Build the wheel that people install: dist/tidegate-VERSION-py3-none-any.whl, with all that a project needs.

It carries, in tidegate/carried and laid out as this checkout: device libraries, loader, boards, native modules for
every core, the emulated board's firmware, and MicroPython for Linux on this machine's processor; with the licences of
what those are made from. `make dist` builds these first. The same commit and build/ give the same bytes: files are
those that git knows, in its order, with the commit's time; the builder's version is pinned in pyproject.toml.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import programs

ROOT = Path(__file__).resolve().parent.parent
MICROPYTHON = ROOT / ".toolchain" / "micropython"
MONOCYPHER = ROOT / ".toolchain" / "monocypher" / "monocypher.c"
PACKAGES = ("tidegate", "ota_server", "pyproject.toml", "README.md", "LICENSE")
# Of what git knows, what boards get and what people read of it; no C and nothing that builds firmware.
CARRIED = re.compile(
    r"firmware/(lib/.+\.py|native/\w+/in_place\.py|boot/.+\.py|main\.py|typings/.+\.pyi)|boards/(?!(modules|frozen)/)\w+/(board\.toml|README\.md|gateway|[a-z0-9]+\.py)"
    r"|docs/((ci|ops|compliance|decisions)/)?[\w-]+\.md|docs/ops/[\w.-]+|docs/wire\.cddl|docs/reference/gate\.md"
)
NOT_CARRIED = re.compile(
    r"docs/ops/\w+_test\.yaml|(.*/)?(manifest\.py|names\.py|frozen\.py|conftest\.py)|firmware/lib/.*/tests/.*"
)
BUILT = ("build/qemu_mps2/firmware.elf", "build/unix/micropython")
LICENCES = {
    "micropython": MICROPYTHON / "LICENSE",
    "lwip": MICROPYTHON / "lib" / "lwip" / "COPYING",
    "mbedtls": MICROPYTHON / "lib" / "mbedtls" / "LICENSE",
}
BACKEND = "import sys, setuptools.build_meta as backend; print(backend.build_wheel(sys.argv[1]))"


def fail(text: str, remedy: str) -> None:
    print(f"dist: error: {text}\ndist: remedy: {remedy}", file=sys.stderr)
    raise SystemExit(1)


def tracked(*paths: str) -> list[str]:
    command = [programs.require("git"), "-C", str(ROOT), "ls-files", "-z", "--", *paths]
    names = subprocess.run(command, check=True, capture_output=True).stdout.decode().split("\0")
    return sorted(name for name in names if name and (ROOT / name).is_file())


def put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)  # whatever this machine's umask is


def stage(folder: Path) -> None:
    """Lay out the source tree of the wheel in `folder`."""
    for name in tracked(*PACKAGES):
        put(ROOT / name, folder / name)
    carried = folder / "tidegate" / "carried"
    for name in tracked("firmware", "boards", "docs"):
        if CARRIED.fullmatch(name) and not NOT_CARRIED.fullmatch(name):
            put(ROOT / name, carried / name)
    for name in BUILT:
        if not (ROOT / name).is_file():
            fail(f"there is no {name}", "run `make dist`, which builds it")
        put(ROOT / name, carried / name)
    native = sorted(path for path in (ROOT / "build" / "native").glob("*/*.*") if path.suffix in (".mpy", ".bin"))
    if not native:
        fail("there are no native modules in build/native", "run `make dist`, which builds them")
    for path in native:
        put(path, carried / path.relative_to(ROOT))
    subprocess.run([programs.require("arm-none-eabi-strip"), "--strip-all", str(carried / BUILT[0])], check=True)
    subprocess.run([programs.require("strip"), "--strip-all", str(carried / BUILT[1])], check=True)
    (carried / "machine").write_text(f"{platform.system()} {platform.machine()}\n")
    licences(carried / "licences")


def licences(folder: Path) -> None:
    """The licences of what the carried firmware and machine code were made from."""
    for name, path in LICENCES.items():
        if not path.is_file():
            fail(f"there is no {path}", "prepare the sources: python3 tools/toolchain.py")
        put(path, folder / name)
    head = re.match(r"(?://.*\n)+", MONOCYPHER.read_text())
    if not head:
        fail(f"{MONOCYPHER} does not begin with its licence", "report this as a bug")
    else:
        (folder / "monocypher").write_text(re.sub(r"^// ?", "", head[0], flags=re.MULTILINE))


def build(out: Path) -> Path:
    """The wheel, in `out`."""
    command = [programs.require("git"), "-C", str(ROOT), "log", "-1", "--format=%ct"]
    epoch = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tidegate-dist-") as scratch:
        folder, made = Path(scratch) / "source", Path(scratch) / "made"
        stage(folder)
        done = subprocess.run(
            [sys.executable, "-c", BACKEND, str(made)],
            cwd=folder,
            capture_output=True,
            text=True,
            env={**os.environ, "SOURCE_DATE_EPOCH": epoch, "PYTHONHASHSEED": "0"},
        )
        if done.returncode:
            fail(
                f"the wheel does not build:\n{done.stderr[-4000:]}",
                "`make environment` brings the builder",
            )
        (wheel,) = made.glob("*.whl")
        target = out / wheel.name
        part = target.with_suffix(".part")
        shutil.copyfile(wheel, part)
        part.replace(target)
    return target


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="Example: python tools/dist.py --out dist"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the wheel; default: dist")
    options = parser.parse_args()
    try:
        wheel = build(options.out.resolve())
    except programs.MissingProgram as error:
        fail(str(error), "then run it again")
    print(f"{wheel}: {wheel.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
