"""Stable numbering: a new .mpy whose strings and constants keep the numbers they have in an older one.

mpy-cross numbers strings in the order they come up, so one new name near the top of a file renumbers all that
follow, and code that has not changed refers to them by other bytes. Numbers are free to choose: `relink` gives
every entry its old one where it can and fills the gaps with the new entries. Only entries whose numbers take
equally many bytes change places, so no code moves and no jump changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tidegate.image import mpy
from tidegate.image.mpy import Module, Reference


@dataclass(frozen=True)
class Relinked:
    """The new file, and how many of its strings and constants have the number they had."""

    data: bytes
    strings: int
    strings_kept: int
    constants: int
    constants_kept: int
    native: bool


def relink_module(old: bytes, new: bytes) -> Relinked:
    """`new`, numbered like `old`. Deterministic; MpyError if either is not a .mpy. Machine code stays untouched.

    A file without a predecessor is linked to itself: relink(new, new) is `new`.
    """
    before, after = mpy.parse(old), mpy.parse(new)
    if after.native:
        return _result(before, after)
    # String 0 is the file's name, by which the loader knows it.
    strings = _places(before.strings, after.strings, fixed=1)
    constants = _places(before.constants, after.constants)
    data = bytearray(new)
    data[after.tables : after.code] = b"".join(
        _moved(after.strings, strings) + _moved(after.constants, constants),
    )
    for references, places in ((after.string_references, strings), (after.constant_references, constants)):
        for reference in references:
            data[reference.position : reference.position + reference.size] = mpy.number(places[reference.index])
    linked = mpy.parse(bytes(data))
    if not same_program(after, linked):
        raise AssertionError("the file just linked is another program")
    return _result(before, linked)


def same_program(one: Module, other: Module) -> bool:
    """Whether two modules have the same code and refer to the same strings and constants in it."""
    return _meaning(one) == _meaning(other)


def _places(old: Sequence[bytes], new: Sequence[bytes], fixed: int = 0) -> list[int]:
    """The number each entry of `new` gets; the first `fixed` stay."""
    places = [-1] * len(new)
    places[:fixed] = range(min(fixed, len(new)))
    free = set(range(fixed, len(new)))
    known: dict[bytes, list[int]] = {}
    for index in range(len(old) - 1, fixed - 1, -1):
        known.setdefault(old[index], []).append(index)
    for index in range(fixed, len(new)):
        candidates = known.get(new[index], [])
        while candidates:
            place = candidates.pop()
            if place in free and mpy.size_of(place) == mpy.size_of(index):
                places[index] = place
                free.discard(place)
                break
    gaps: dict[int, list[int]] = {}
    for place in sorted(free, reverse=True):
        gaps.setdefault(mpy.size_of(place), []).append(place)
    for index, place in enumerate(places):
        if place < 0:
            places[index] = gaps[mpy.size_of(index)].pop()
    return places


def _moved(entries: Sequence[bytes], places: Sequence[int]) -> list[bytes]:
    moved = [b""] * len(entries)
    for entry, place in zip(entries, places, strict=True):
        moved[place] = entry
    return moved


def _meaning(module: Module) -> tuple[bytes, bytes, list[bytes], list[bytes], list[bytes]]:
    code = bytearray(module.data)
    for reference in module.string_references + module.constant_references:
        code[reference.position : reference.position + reference.size] = bytes(reference.size)
    return (
        bytes(code[: module.tables]),
        bytes(code[module.code :]),
        module.strings[:1],  # the name of the source, which no code refers to
        _named(module.strings, module.string_references),
        _named(module.constants, module.constant_references),
    )


def _named(table: Sequence[bytes], references: Sequence[Reference]) -> list[bytes]:
    return [table[reference.index] for reference in references]


def _result(old: Module, new: Module) -> Relinked:
    return Relinked(
        data=new.data,
        strings=len(new.strings),
        strings_kept=sum(a == b for a, b in zip(old.strings, new.strings, strict=False)),
        constants=len(new.constants),
        constants_kept=sum(a == b for a, b in zip(old.constants, new.constants, strict=False)),
        native=new.native,
    )
