"""Stable numbering: a new .mpy whose strings and constants keep the numbers they have in an older one.

mpy-cross numbers strings in the order they come up, so one new name near the top of a file renumbers all that
follow, and code that has not changed refers to them by other bytes. Numbers are free to choose: `relink_module`
gives every entry its old one where it can and fills the gaps with the new entries. Only entries whose numbers take
equally many bytes change places, so no code moves and no jump changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tidegate.image import mpy
from tidegate.image.mpy import Module, Reference


@dataclass(frozen=True)
class Relinked:
    """The new file, and how many of its strings and constants kept their numbers."""

    data: bytes
    strings: int
    strings_kept: int
    constants: int
    constants_kept: int
    native: bool


def relink_module(old: bytes, new: bytes) -> Relinked:
    """`new`, numbered like `old`. Deterministic; MpyError if either is not a .mpy. Machine code stays untouched.

    A file without a predecessor is linked to itself: relink_module(new, new) is `new`.
    """
    before, after = mpy.parse(old), mpy.parse(new)
    if after.native:
        return _result(before, after)
    # String 0 is the file's name, by which the loader knows it.
    strings = _numbers(before.strings, after.strings, fixed=1)
    constants = _numbers(before.constants, after.constants)
    data = bytearray(new)
    data[after.tables : after.code] = b"".join(
        _moved(after.strings, strings) + _moved(after.constants, constants),
    )
    for references, numbers in ((after.string_references, strings), (after.constant_references, constants)):
        for reference in references:
            data[reference.position : reference.position + reference.size] = mpy.number(numbers[reference.index])
    linked = mpy.parse(bytes(data))
    if not same_program(after, linked):
        raise AssertionError("the re-linked file is a different program")
    return _result(before, linked)


def same_program(one: Module, other: Module) -> bool:
    """Whether two modules have the same code and refer to the same strings and constants in it."""
    return _meaning(one) == _meaning(other)


def _numbers(old: Sequence[bytes], new: Sequence[bytes], fixed: int = 0) -> list[int]:
    """The number for each entry of `new`; the first `fixed` stay."""
    numbers = [-1] * len(new)
    numbers[:fixed] = range(min(fixed, len(new)))
    free = set(range(fixed, len(new)))
    known: dict[bytes, list[int]] = {}
    for index in range(len(old) - 1, fixed - 1, -1):
        known.setdefault(old[index], []).append(index)
    for index in range(fixed, len(new)):
        candidates = known.get(new[index], [])
        while candidates:
            number = candidates.pop()
            if number in free and mpy.size_of(number) == mpy.size_of(index):
                numbers[index] = number
                free.discard(number)
                break
    gaps: dict[int, list[int]] = {}
    for number in sorted(free, reverse=True):
        gaps.setdefault(mpy.size_of(number), []).append(number)
    for index, number in enumerate(numbers):
        if number < 0:
            numbers[index] = gaps[mpy.size_of(index)].pop()
    return numbers


def _moved(entries: Sequence[bytes], numbers: Sequence[int]) -> list[bytes]:
    moved = [b""] * len(entries)
    for entry, number in zip(entries, numbers, strict=True):
        moved[number] = entry
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
