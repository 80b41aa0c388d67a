"""Patches between two files: docs/patch-format.md, host side.

`make` takes bsdiff's triples (copy with differences, insert, seek), writes them with each codec and keeps the
smaller patch. `apply` is an independent implementation of the same page, strict about every bound; `make` runs it
on each patch before it returns it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tidegate.delta import adaptive, deflate, match, operations
from tidegate.delta.container import (
    ADAPTIVE,
    CODECS,
    DEFLATE,
    MAGIC,
    MAX_SIZE,
    Header,
    PatchError,
    check,
    read_header,
    write_header,
)

__all__ = [
    "ADAPTIVE",
    "CODECS",
    "DEFLATE",
    "MAGIC",
    "MAX_SIZE",
    "Header",
    "Info",
    "PatchError",
    "apply",
    "info",
    "make",
    "packed_size",
    "read_header",
]

Progress = Callable[[int, int, str], None]  # bytes of the new file done, all, what is being done
_REPORT_EVERY = 1 << 12  # bytes
_LARGE = 1 << 20  # bytes of a new file for which not everything is tried
_MANY = 20_000  # changes, from which a sample says something
_SURE = 0.85  # codec 1 is tried if it could be so much smaller than its estimate


@dataclass(frozen=True)
class Info:
    """Facts of a patch: header, operations, bytes copied, changed and inserted."""

    header: Header
    size: int
    operations: int
    copied: int
    changed: int
    inserted: int


def make(
    old: bytes, new: bytes, codecs: Sequence[int] = (DEFLATE, ADAPTIVE), progress: Progress | None = None
) -> bytes:
    """The smallest patch that turns `old` into `new` with one of `codecs`.

    Deterministic. Takes bsdiff's time and memory (about 9 x old), and some 30 microseconds for each byte that is new.
    No input takes the square of its length (bsdiff.py), and Ctrl-C ends it.
    """
    for data, name in ((old, "old"), (new, "new")):
        if len(data) > MAX_SIZE:
            raise PatchError(f"the {name} file is longer than {MAX_SIZE} bytes", "Patches are for images")
    if progress:
        progress(0, len(new), "comparing")
    found = match.triples(old, new)
    patches = []
    if progress:
        progress(0, len(new), "packing")
    if DEFLATE in codecs:
        patches.append(write_header(DEFLATE, old, new) + operations.encode(found))
    if ADAPTIVE in codecs and not (patches and len(new) > _LARGE and _hopeless(found, len(patches[0]))):
        steps = _reporting(match.steps(old, new, found), len(new), "packing", progress)
        patches.append(write_header(ADAPTIVE, old, new) + adaptive.encode(steps))
    patch = min(patches, key=len)
    if apply(old, patch, progress) != new:
        raise AssertionError("the patch just made does not give the new file")
    return patch


def _hopeless(found: match.Triples, best: int) -> bool:
    """Whether codec 1, which takes its time for many changes, would not come near a patch of `best` bytes."""
    changes = len(found.differences) - found.differences.count(0)
    return changes > _MANY and adaptive.about(found.differences, found.extra) * _SURE > best


def apply(old: bytes, patch: bytes, progress: Progress | None = None) -> bytes:
    """The new file that `patch` makes from `old`; PatchError if it does not fit."""
    header = read_header(patch)
    if len(old) != header.old_size or check(old) != header.old_check:
        raise PatchError(
            f"the patch is for another base: {header.old_size} bytes, SHA-256 {header.old_check.hex()}...; "
            f"this one has {len(old)} bytes, {check(old).hex()}...",
            "Apply it to the file it was made from",
        )
    if header.codec == ADAPTIVE:
        steps = _reporting(adaptive.decode(header, patch), header.new_size, "applying", progress)
        out = _apply_steps(old, steps)
    else:
        if progress:
            progress(0, header.new_size, "applying")
        out = _apply_operations(old, header, patch)
    if check(out) != header.new_check:
        raise PatchError("the patch is damaged: the file that it makes has another digest than it states")
    return out


def _apply_operations(old: bytes, header: Header, patch: bytes) -> bytes:
    out = bytearray()
    for position, x, changes, literal in operations.decode(header, patch):
        copied = bytearray(old[position : position + x])
        for offset, delta in changes:
            copied[offset] = (copied[offset] + delta) & 0xFF
        out += copied
        out += literal
    return bytes(out)


def _apply_steps(old: bytes, steps: Iterable[adaptive.Step]) -> bytes:
    out = bytearray()
    position = 0
    for run, kind, value, length, data in steps:
        out += old[position : position + run]
        position += run
        if kind == adaptive.CHANGE:
            out.append((old[position] + value) & 0xFF)
            position += 1
        elif kind == adaptive.LITERAL:
            out += data
        elif kind == adaptive.OLD_COPY:
            out += old[position + value : position + value + length]
        elif kind == adaptive.NEW_COPY:
            piece = out[-value:]
            out += (piece * (length // value + 1))[:length]  # a copy may reach into what it makes
        elif kind == adaptive.SEEK:
            position += value
    return bytes(out)


def _reporting(
    steps: Iterable[adaptive.Step], size: int, what: str, progress: Progress | None
) -> Iterator[adaptive.Step]:
    """The same steps, reported to `progress` as they pass."""
    done = reported = 0
    for step in steps:
        done += step.run + step.length
        if progress and done - reported >= _REPORT_EVERY:
            progress(done, size, what)
            reported = done
        yield step


def info(patch: bytes) -> Info:
    """Header and totals of `patch`, every operation checked, without its base."""
    header = read_header(patch)
    count = copied = changed = inserted = 0
    if header.codec == DEFLATE:
        for _position, x, changes, literal in operations.decode(header, patch):
            count += 1
            copied += x - len(changes)
            changed += len(changes)
            inserted += len(literal)
    else:
        for step in adaptive.decode(header, patch):
            count += 1
            copied += step.run + (step.length if step.kind in (adaptive.OLD_COPY, adaptive.NEW_COPY) else 0)
            changed += step.kind == adaptive.CHANGE
            inserted += len(step.data)
    return Info(header, len(patch), count, copied, changed, inserted)


def packed_size(data: bytes) -> int:
    """Bytes of `data` as a raw deflate stream a device could read: what a patch must beat. About, above a megabyte."""
    return deflate.about(data) if len(data) > _LARGE else len(deflate.pack(data))
