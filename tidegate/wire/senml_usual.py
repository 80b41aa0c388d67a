"""Reads a telemetry pack as agents spell it, in one pass over its bytes: a third of what the general way takes.

It gives up on whatever else there may be: rare fields, long heads, mistakes. `senml.read` then reads the pack by itself
and says what is wrong with it. So this never decides what is valid; it must only never take what `senml` does not take,
nor read it otherwise, and tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import error as StructError
from struct import unpack_from
from typing import Any

Facts = tuple[list[dict[str, Any]], int | None, int | None, bool]  # records, number, dropped, timed

_ITEMS = 1024  # as `cbor` has it
_N, _U, _V, _VS, _VB, _T = 0x00, 0x01, 0x02, 0x03, 0x04, 0x06  # the labels' bytes
_BN, _BT, _BU = 0x21, 0x22, 0x23
_OURS, _NUMBER, _DROPPED = 0x39, 0x39, 0x3A  # -257 and -258 take three bytes: 39 01 00 and 39 01 01


class _Unusual(Exception):
    """For the general reader."""


def read(data: bytes, now: float, relative: int, is_name: Callable[[str], bool]) -> Facts | None:
    """The facts of a pack, or None if it is to be read the general way. relative: times below are relative to now."""
    try:
        return _pack(data, now, relative, is_name)
    except (_Unusual, IndexError, StructError, UnicodeDecodeError):
        return None


def _pack(data: bytes, now: float, relative: int, is_name: Callable[[str], bool]) -> Facts:
    count, at = data[0] - 0x80, 1
    if not 0 < count < 24:
        raise _Unusual
    base, base_time, base_unit = "", 0, ""
    number = dropped = None
    records, timed, items = [], True, 1 + count
    for index in range(count):
        pairs = data[at] - 0xA0
        at += 1
        items += 2 * pairs
        if not 0 < pairs < 24 or items > _ITEMS:
            raise _Unusual
        name, unit, time, kind, value, last = "", None, None, "", None, -1
        named = False
        for _ in range(pairs):
            label = data[at]
            at += 1
            if label == _OURS and not index and data[at] == 1:
                label += data[at + 1]
                at += 2
                if last >= label or label > _DROPPED:
                    raise _Unusual
                count_, at = _number(data, at)
                if not isinstance(count_, int) or count_ < 0:
                    raise _Unusual
                if label == _NUMBER:
                    number = count_
                else:
                    dropped = count_
            elif label <= last:  # keys are sorted, and none is there twice
                raise _Unusual
            elif label in (_V, _T, _BT):
                found, at = _number(data, at)
                if label == _V:
                    kind, value = "value", found + 0
                elif label == _T:
                    time = found
                else:
                    base_time = found
            elif label in (_N, _U, _VS, _BN, _BU):
                length = data[at] - 0x60
                at += 1
                if length == 24:  # one more byte says it
                    length = data[at]
                    at += 1
                    if length < 24:
                        raise _Unusual
                elif not 0 <= length < 24:
                    raise _Unusual
                text = str(data[at : at + length], "utf-8")
                at += length
                if label == _N:
                    name, named = text, True
                elif label == _U:
                    unit = text
                elif label == _VS:
                    if kind:
                        raise _Unusual
                    kind, value = "text", text
                elif label == _BN:
                    base = text
                else:
                    base_unit = text
            elif label == _VB and not kind and data[at] in (0xF4, 0xF5):
                kind, value = "bool", data[at] == 0xF5
                at += 1
            else:
                raise _Unusual
            last = label
        if not kind:
            if named or unit is not None or time is not None:
                raise _Unusual
            continue  # nothing but base fields
        name = base + name
        if not is_name(name):
            raise _Unusual
        when = base_time + (time or 0)
        if when < relative:
            timed = False
            record = {"name": name, "time": now + when}
        else:
            record = {"name": name, "time": when}
        if unit is None:
            unit = base_unit
        if unit:
            record["unit"] = unit
        record[kind] = value
        records.append(record)
    if at != len(data):
        raise _Unusual
    return records, number, dropped, timed


def _number(data: bytes, at: int) -> tuple[Any, int]:
    """The number at `at` and where it ends. Numbers that may have a shorter spelling are for the general reader."""
    head = data[at]
    if head == 0xFB:
        value = unpack_from(">d", data, at + 1)[0]
        if not int.from_bytes(data[at + 5 : at + 9], "big") & 0x1FFFFFFF or value - value:  # float has 29 bits less
            raise _Unusual
        return value, at + 9
    if head == 0xFA:
        value = unpack_from(">f", data, at + 1)[0]
        if not int.from_bytes(data[at + 3 : at + 5], "big") & 0x1FFF or value - value:  # half has 13 bits less
            raise _Unusual
        return value, at + 5
    if head == 0xF9:
        value = unpack_from(">e", data, at + 1)[0]
        if value - value:
            raise _Unusual
        return value, at + 3
    if head < 0x18:
        return head, at + 1
    if head < 0x38 and head > 0x1F:
        return 0x1F - head, at + 1
    kind, width = head & 0xE0, 1 << ((head & 31) - 24) if 24 <= head & 31 < 27 else 0
    argument = int.from_bytes(data[at + 1 : at + 1 + width], "big")
    if kind > 0x20 or not width or argument < (24, 1 << 8, 1 << 16)[(head & 31) - 24]:
        raise _Unusual
    return (argument if not kind else -1 - argument), at + 1 + width
