"""Images of released libraries: what `bench/delta.py` measures patches on.

Wheels are fetched once with pip, without their dependencies, into build/corpus; every .py file in them is compiled
for an ARMv7-M core and packed as an image the way a release is. Firmware in C comes from the tests of detools, whose
authors chose it.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tidegate.boards import Board
from tidegate.errors import TidegateError
from tidegate.image import Tree, compile_source, pack, relink_module

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "corpus"
BOARD = Board("corpus", "any ARMv7-M core", "armv7m", None, {})
FETCH_TIMEOUT = 300  # s a wheel

LIBRARIES = {
    "microdot": "2.3.4 2.3.5 2.4.0 2.5.0 2.5.1 2.6.0 2.6.1",
    "arduino-iot-cloud": "1.3.0 1.3.1 1.3.2 1.3.3 1.4.0 1.4.1",
    "adafruit-circuitpython-minimqtt": "7.10.7 7.11.0 7.11.1 7.11.2 7.11.3 7.11.4 7.11.5",
    "adafruit-circuitpython-requests": "3.2.10 4.0.0 4.1.0 4.1.1 4.1.2 4.1.3 4.1.4",
    "adafruit-circuitpython-httpserver": "4.3.0 4.4.0 4.4.1 4.4.2 4.4.3 4.4.4 4.4.5",
    "adafruit-circuitpython-ble": "10.0.2 10.0.3 10.0.4 10.0.5 10.0.6 10.0.7 10.0.8",
}
# The start states of codec 1 were learned from these (bench/start_states.py), and from nothing else.
TRAINING = {
    "adafruit-circuitpython-esp32spi": "9.0.3 9.0.4 10.0.0 11.0.0 11.1.0",
    "adafruit-circuitpython-wiznet5k": "7.1.5 7.2.0 7.2.4 7.3.0 7.4.0",
    "adafruit-circuitpython-display-text": "3.4.3 4.0.0 4.0.2 5.0.0 5.0.6",
    "adafruit-circuitpython-connectionmanager": "1.0.1 1.1.0 1.2.0 2.0.0 3.0.0 3.1.0 3.1.6",
}

# In the source archive of detools: old and new image, by the folder tests/files.
DETOOLS = "0.53.0"
FIRMWARE = {
    "programmer 0.8 to 0.9": ("programmer/0.8.0.bin", "programmer/0.9.0.bin"),
    "shell, Pi 3, 1 to 2": ("shell-pi-3/1.bin", "shell-pi-3/2.bin"),
    "synthesizer 1 to 2": ("synthesizer/1.bin", "synthesizer/2.bin"),
    "MicroPython pybv11, v1.10 to next": ("pybv11/v1.10/firmware1.bin", "pybv11/1f5d945af/firmware1.bin"),
    "MicroPython pybv11, to -dirty": ("pybv11/1f5d945af/firmware1.bin", "pybv11/1f5d945af-dirty/firmware1.bin"),
    "MicroPython esp8266, 1.9.4 to 1.10": (
        "micropython/esp8266-20180511-v1.9.4.bin",
        "micropython/esp8266-20190125-v1.10.bin",
    ),
}

Sources = dict[str, bytes]  # compiled files by their path in the image


class CorpusError(Exception):
    """A wheel that cannot be had."""


def wheel(library: str, version: str, *platform: str) -> Path:
    """The wheel of one release, fetched if the cache lacks it. platform: pip's options for another than this one."""
    stem = f"{library.replace('-', '_')}-{version}-"
    for path in CACHE.glob("*.whl"):
        if path.name.lower().startswith(stem):
            return path
    _fetch(library, version, "--only-binary", ":all:", *platform)
    return next(path for path in CACHE.glob("*.whl") if path.name.lower().startswith(stem))


def _fetch(library: str, version: str, *options: str) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(CACHE), *options]
    done = subprocess.run([*command, f"{library}=={version}"], capture_output=True, text=True, timeout=FETCH_TIMEOUT)
    if done.returncode:
        raise CorpusError(f"{library} {version} cannot be fetched:\n{done.stderr.strip()}")


def compiled(library: str, version: str) -> Sources:
    """Every .py file of one release as .mpy, by its path in the image; compiled once."""
    store = CACHE / "mpy" / f"{library}-{version}.zip"
    if not store.exists():
        store.parent.mkdir(parents=True, exist_ok=True)
        files = _compile(wheel(library, version))
        partial = store.with_suffix(".part")
        with zipfile.ZipFile(partial, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        partial.replace(store)
    with zipfile.ZipFile(store) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _compile(path: Path) -> Sources:
    files = {}
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "source.py"
        for name in sorted(archive.namelist()):
            if name.endswith(".py"):
                source.write_bytes(archive.read(name))
                try:
                    module = compile_source(source, f"lib/{name}", BOARD, Path(scratch))
                except TidegateError:
                    print(f"{path.name}: {name} is not for MicroPython, left out", file=sys.stderr)
                else:
                    files[f"lib/{name[:-3]}.mpy"] = module
    return files


def image(files: Sources) -> bytes:
    """The ROMFS image of compiled files."""
    tree: Tree = {}
    for name, data in files.items():
        *folders, leaf = name.split("/")
        branch = tree
        for folder in folders:
            branch = branch.setdefault(folder, {})  # type: ignore[assignment]
        branch[leaf] = data
    return pack(tree)


@dataclass(frozen=True)
class Step:
    """Two consecutive releases as images; the relinked ones keep their numbers from release to release."""

    name: str
    old: bytes
    new: bytes
    relinked_old: bytes
    relinked_new: bytes


def steps(libraries: dict[str, str]) -> Iterator[Step]:
    """Every consecutive pair of releases."""
    for library, versions in libraries.items():
        numbers = versions.split()
        files = kept = compiled(library, numbers[0])
        for before, after in pairwise(numbers):
            next_files = compiled(library, after)
            next_kept = {
                name: relink_module(kept[name], data).data if name in kept else data
                for name, data in next_files.items()
            }
            name = f"{library} {before} to {after}"
            yield Step(name, image(files), image(next_files), image(kept), image(next_kept))
            files, kept = next_files, next_kept


def firmware_steps() -> Iterator[Step]:
    """The pairs of FIRMWARE. What compilers of C make has no numbers to keep: re-linked is as plain."""
    archive = CACHE / f"detools-{DETOOLS}.tar.gz"
    if not archive.exists():
        _fetch("detools", DETOOLS, "--no-binary", ":all:")
    with tarfile.open(archive) as files:

        def content(name: str) -> bytes:
            file = files.extractfile(f"detools-{DETOOLS}/tests/files/{name}")
            assert file is not None, name
            return file.read()

        for name, (old, new) in FIRMWARE.items():
            before, after = content(old), content(new)
            yield Step(name, before, after, before, after)
