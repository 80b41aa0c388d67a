"""Patches between two files: docs/patch-format.md, host side.

`make` takes bsdiff's triples (copy with differences, insert, seek), writes them with each codec and keeps the
smaller patch. `apply` is an independent reading of the same page, strict about every bound; `make` runs it on
what it made before it hands it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tidegate import deflate
from tidegate.delta import adaptive, match, operations
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

# Coding a byte takes Python about 10 microseconds; past this codec 1 is left out (and would rarely fit a device).
_MAX_ADAPTIVE = 1 << 20


@dataclass(frozen=True)
class Info:
    """A patch looked into: header, operations, bytes copied, changed and inserted."""

    header: Header
    size: int
    operations: int
    copied: int
    changed: int
    inserted: int


def make(old: bytes, new: bytes, codecs: Sequence[int] = (DEFLATE, ADAPTIVE)) -> bytes:
    """The smallest patch that turns `old` into `new` with one of `codecs`.

    Deterministic; time and memory as bsdiff's (about 9 x old).
    """
    for data, name in ((old, "old"), (new, "new")):
        if len(data) > MAX_SIZE:
            raise PatchError(f"the {name} file is longer than {MAX_SIZE} bytes", "Patches are for images")
    found = match.triples(old, new)
    patches = []
    if DEFLATE in codecs:
        patches.append(write_header(DEFLATE, old, new) + operations.encode(found))
    if ADAPTIVE in codecs:
        patches.append(write_header(ADAPTIVE, old, new) + adaptive.encode(match.steps(old, new, found)))
    patch = min(patches, key=len)
    if apply(old, patch) != new:
        raise AssertionError("the patch just made does not give the new file")
    return patch


def apply(old: bytes, patch: bytes) -> bytes:
    """The new file that `patch` makes from `old`; PatchError, and nothing half done, if it does not fit."""
    header = read_header(patch)
    if len(old) != header.old_size or check(old) != header.old_check:
        raise PatchError(
            f"the patch is for another base: {header.old_size} bytes, SHA-256 {header.old_check.hex()}...; "
            f"this one has {len(old)} bytes, {check(old).hex()}...",
            "Apply it to the file it was made from",
        )
    out = _apply_steps(old, header, patch) if header.codec == ADAPTIVE else _apply_operations(old, header, patch)
    if check(out) != header.new_check:
        raise PatchError("the patch is damaged: what it makes has another digest than it says")
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


def _apply_steps(old: bytes, header: Header, patch: bytes) -> bytes:
    out = bytearray()
    position = 0
    for run, kind, value, length, data in adaptive.decode(header, patch):
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
            for _ in range(length):  # a copy may reach into what it makes
                out.append(out[-value])
        elif kind == adaptive.SEEK:
            position += value
    return bytes(out)


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
    """Bytes of `data` as a raw deflate stream a device could read: what a patch has to beat."""
    return len(deflate.pack(data))
