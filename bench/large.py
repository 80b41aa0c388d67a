#!/usr/bin/env python3
"""Measures patches between large files: time, memory and size of ours beside bsdiff4's, in one run.

    python bench/large.py                     machine code for ARM64 Linux: consecutive releases of two libraries
    python bench/large.py --json              the same for programs
    python bench/large.py old.bin new.bin     any two files

Each program makes its patch in a process of its own. Exit code 1 if ours takes more than twice the processor time or
twice the memory of bsdiff4 on any pair.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import corpus

MOST = 2.0  # times bsdiff4's time and memory
MOST_BYTES = 16_000_000
PLATFORM = ("--platform", "manylinux2014_aarch64", "--python-version", "3.12")
PAIRS = {"numpy": "2.2.5 2.2.6", "lxml": "5.3.1 5.3.2"}
PROGRAMS = ("Tidegate", "bsdiff4")


def largest(library: str, version: str, folder: Path) -> Path:
    """The largest shared library up to MOST_BYTES in a release's wheel, as a file in `folder`."""
    with zipfile.ZipFile(corpus.wheel(library, version, *PLATFORM)) as archive:
        libraries = [info for info in archive.infolist() if ".so" in info.filename and info.file_size <= MOST_BYTES]
        target = folder / f"{library}-{version}"
        target.write_bytes(archive.read(max(libraries, key=lambda info: info.file_size)))
    return target


def make(program: str, old: Path, new: Path) -> dict[str, float]:
    """Make a patch here and now: its bytes, the seconds of the processor, the most memory that this process had."""
    before, after = old.read_bytes(), new.read_bytes()
    begun = time.process_time()
    if program == "bsdiff4":
        import bsdiff4

        patch = bsdiff4.diff(before, after)
    else:
        from tidegate import delta

        patch = delta.make(before, after)
    seconds = time.process_time() - begun
    return {
        "bytes": len(patch),
        "seconds": round(seconds, 2),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


def measure(name: str, old: Path, new: Path) -> dict:
    found = {}
    for program in PROGRAMS:
        command = [sys.executable, __file__, "--make", program, str(old), str(new)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found[program] = json.loads(done.stdout)
    ours, theirs = (found[program] for program in PROGRAMS)
    ratios = {key: round(ours[key] / theirs[key], 2) for key in ours}
    return {"pair": name, "new": new.stat().st_size, **found, "ratios": ratios}


def show(row: dict) -> None:
    cells = "".join(
        f"{row[program]['bytes']:10} B {row[program]['seconds']:6.2f} s {row[program]['megabytes']:4.0f} MB"
        for program in PROGRAMS
    )
    ratios = row["ratios"]
    print(
        f"{row['pair']:32}{row['new']:9}{cells}   {ratios['bytes']:.2f} {ratios['seconds']:.2f} "
        f"{ratios['megabytes']:.2f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="OLD NEW", help="two files instead")
    parser.add_argument("--json", action="store_true", help="print every pair as JSON")
    parser.add_argument("--make", choices=PROGRAMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if len(options.files) not in (0, 2):
        parser.error("name two files, or none")
    if options.make:
        print(json.dumps(make(options.make, *options.files)))
        return 0
    if not options.json:
        print(f"{'pair':32}{'new':>9}{'Tidegate':>27}{'bsdiff4':>27}   ratios")
    rows = []
    try:
        with tempfile.TemporaryDirectory(prefix="tidegate-large-") as name:
            pairs = (
                [(f"{options.files[0].name} to {options.files[1].name}", *options.files)]
                if options.files
                else (
                    (
                        f"{library} {versions.replace(' ', ' to ')}",
                        *(largest(library, v, Path(name)) for v in versions.split()),
                    )
                    for library, versions in PAIRS.items()
                )
            )
            for pair in pairs:
                rows.append(measure(*pair))
                if not options.json:
                    show(rows[-1])
    except corpus.CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(rows, indent=1))
    over = [row["pair"] for row in rows if max(row["ratios"]["seconds"], row["ratios"]["megabytes"]) > MOST]
    for pair in over:
        print(f"{pair}: more than {MOST:.0f} times bsdiff4's time or memory", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
