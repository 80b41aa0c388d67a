#!/usr/bin/env python3
"""Measures patches between released libraries, ours and other people's, in one run and one table.

    python bench/delta.py                     the 35 pairs of six libraries
    python bench/delta.py --json              the same for programs, with every pair
    python bench/delta.py --training          the pairs that the start states were learned from
    python bench/delta.py --firmware          pairs of firmware in C, of 24 to 615 KB, that detools tests itself with
    python bench/delta.py microdot=2.6.1,2.6.2,2.7.0    any other releases; repeat it

Every size is that of a whole patch file with all it takes to apply it, and each was applied: it gives the new image.
"Re-linked" images keep the numbers of their strings and constants from release to release (tidegate/image/relink.py),
which helps every program. Needs the packages of the extra `bench`; `make bench-delta` sees to them.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import statistics
import string
import sys
import time
from collections.abc import Callable, Iterable

import bsdiff4
import corpus

from tidegate import delta

try:
    import detools
    import hdiffpatch
    import zstandard
    from openmv_ota.ota import delta as openmv
except ImportError as error:
    raise SystemExit(
        f"error: {error}; run: .venv/bin/python -m pip install -e '.[bench]', or make bench-delta"
    ) from None


def ours(*codecs: int) -> Callable[[bytes, bytes], bytes]:
    def make(old: bytes, new: bytes) -> bytes:
        patch = delta.make(old, new, codecs)
        if delta.apply(old, patch) != new:
            raise SystemExit("a patch of ours does not give the new image")
        return patch

    return make


def detools_sequential(compression: str) -> Callable[[bytes, bytes], bytes]:
    def make(old: bytes, new: bytes) -> bytes:
        patch = io.BytesIO()
        detools.create_patch(io.BytesIO(old), io.BytesIO(new), patch, compression, patch_type="sequential")
        made = io.BytesIO()
        detools.apply_patch(io.BytesIO(old), io.BytesIO(patch.getvalue()), made)
        if made.getvalue() != new:
            raise SystemExit("a patch of detools does not give the new image")
        return patch.getvalue()

    return make


def zstd_patch_from(old: bytes, new: bytes) -> bytes:
    """What `zstd --patch-from=old -19 --long=27 --no-check` does, to a few bytes in 26,000 (zstd 1.5)."""
    dictionary = zstandard.ZstdCompressionDict(old, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    parameters = zstandard.ZstdCompressionParameters.from_level(19, window_log=27, enable_ldm=True)
    patch = zstandard.ZstdCompressor(dict_data=dictionary, compression_params=parameters).compress(new)
    unpacker = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=1 << 27)
    if unpacker.decompress(patch) != new:
        raise SystemExit("a patch of zstd does not give the new image")
    return patch


def hdiff(compression: str) -> Callable[[bytes, bytes], bytes]:
    """HDiffPatch for computers, which unpacks with all the memory there is. It applies each patch itself."""
    return lambda old, new: hdiffpatch.diff(old, new, compression)


def hpatch_lite(compression: str) -> Callable[[bytes, bytes], bytes]:
    """HPatchLite, its form for microcontrollers; tuz is its own small packer."""
    return lambda old, new: hdiffpatch.diff_lite(old, new, compression=compression)


def openmv_ota(old: bytes, new: bytes) -> bytes:
    """As openmv-ota sends it: its own form, with gzip around it."""
    patch = gzip.compress(openmv.make_delta(old, new), 9, mtime=0)
    if openmv.apply_delta(old, gzip.decompress(patch)) != new:
        raise SystemExit("a patch of openmv-ota does not give the new image")
    return patch


OURS = "Tidegate"
PROGRAMS: dict[str, Callable[[bytes, bytes], bytes]] = {
    OURS: ours(delta.DEFLATE, delta.ADAPTIVE),
    "Tidegate, deflate only": ours(delta.DEFLATE),
    "detools sequential, heatshrink": detools_sequential("heatshrink"),
    "detools sequential, lzma": detools_sequential("lzma"),
    "HPatchLite, tuz": hpatch_lite("tuz"),
    "HDiffPatch, zlib": hdiff("zlib"),
    "HDiffPatch, lzma2": hdiff("lzma2"),
    "openmv-ota": openmv_ota,
    "bsdiff4": bsdiff4.diff,
    "zstd --patch-from, level 19": zstd_patch_from,
}


def measure(steps: Iterable[corpus.Step]) -> list[dict]:
    """For every pair its name, the size of the new image, and program -> [plain, re-linked] patch bytes."""
    found = []
    for step in steps:
        pairs = [(step.old, step.new), (step.relinked_old, step.relinked_new)]
        made = {pair: {name: len(make(*pair)) for name, make in PROGRAMS.items()} for pair in set(pairs)}
        sizes = {name: [made[pair][name] for pair in pairs] for name in PROGRAMS}
        found.append({"pair": step.name, "image": len(step.new), "patches": sizes})
        if sys.stderr.isatty():
            print(f"{step.name:60}", end="\r", file=sys.stderr, flush=True)
    return found


def totals(found: list[dict]) -> dict[str, dict[str, float]]:
    out = {}
    for name in PROGRAMS:
        plain, relinked = zip(*(pair["patches"][name] for pair in found), strict=True)
        out[name] = {
            "plain": sum(plain),
            "plain_median": statistics.median(plain),
            "relinked": sum(relinked),
            "relinked_median": statistics.median(relinked),
        }
    return out


def show(found: list[dict], seconds: float) -> None:
    sums = totals(found)
    print(f"{len(found)} pairs, {sum(pair['image'] for pair in found)} B of new images, {seconds:.0f} s")
    print(
        f"{'whole patch files, bytes':34}{'plain':>8}{'median':>8}{'ratio':>7}"
        f"{'re-linked':>11}{'median':>8}{'ratio':>7}"
    )
    for name, row in sums.items():
        print(
            f"{name:34}{row['plain']:8}{row['plain_median']:8.0f}{row['plain'] / sums[OURS]['plain']:7.2f}"
            f"{row['relinked']:11}{row['relinked_median']:8.0f}{row['relinked'] / sums[OURS]['relinked']:7.2f}"
        )


def show_firmware(found: list[dict], seconds: float) -> None:
    """A line for each pair: nothing is re-linked here, and one of them would drown the others in a sum."""
    print(f"{len(found)} pairs, {sum(pair['image'] for pair in found)} B of new images, {seconds:.0f} s")
    columns = dict(zip(string.ascii_lowercase, PROGRAMS, strict=False))
    for letter, name in columns.items():
        print(f"  {letter}  {name}")
    print(f"{'whole patch files, bytes':34}" + "".join(f"{letter:>8}" for letter in columns))
    rows = [(pair["pair"], [pair["patches"][name][0] for name in PROGRAMS]) for pair in found]
    for name, sizes in [*rows, ("all of them", [sum(column) for column in zip(*(s for _, s in rows), strict=True)])]:
        print(f"{name:34}" + "".join(f"{size:8}" for size in sizes))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("libraries", nargs="*", metavar="NAME=VERSION,VERSION,...", help="releases from PyPI")
    parser.add_argument("--training", action="store_true", help="the pairs the start states were learned from")
    parser.add_argument("--firmware", action="store_true", help="firmware in C instead of libraries")
    parser.add_argument("--json", action="store_true", help="print every pair as JSON")
    options = parser.parse_args()
    libraries = corpus.TRAINING if options.training else corpus.LIBRARIES
    if options.libraries:
        libraries = {
            name: versions.replace(",", " ") for name, _, versions in (x.partition("=") for x in options.libraries)
        }
    begun = time.monotonic()
    try:
        found = measure(corpus.firmware_steps() if options.firmware else corpus.steps(libraries))
    except corpus.CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps({"totals": totals(found), "pairs": found}, indent=1))
    else:
        (show_firmware if options.firmware else show)(found, time.monotonic() - begun)
    return 0


if __name__ == "__main__":
    sys.exit(main())
