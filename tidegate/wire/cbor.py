"""CBOR with one spelling for every value: RFC 8949 section 4.2.1 both ways, nothing else accepted.

Decoding goes three steps, each closing what the one before leaves open. A scan checks the caps (size,
depth, items, declared lengths, tags) before anything is allocated. `cbor2` then builds the values. At
last they are encoded again by `dumps` and must give the very bytes that came in: this refuses long
heads, unsorted or double keys, indefinite lengths and long floats without a rule for each. The scan
spares honest messages that third step: it notes when it has seen for itself that all heads and floats
are short and all keys are sorted integers or strings. What it is not sure of is encoded again.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import cbor2

from tidegate.errors import Refused

MAX_SIZE = 4096
MAX_DEPTH = 8
MAX_ITEMS = 1024

_LEAST = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}  # what needs a head with so many bytes
_FLOATS = {25: ">e", 26: ">f", 27: ">d"}
_HEADS = ((0x18, 1 << 8, ">BB"), (0x19, 1 << 16, ">BH"), (0x1A, 1 << 32, ">BI"), (0x1B, 1 << 64, ">BQ"))


class CborError(Refused):
    """Bytes that are not deterministic CBOR within the caps."""

    def __init__(self, message: str, reason: str = "malformed"):
        super().__init__(reason, message, "Check that it is the right thing and was not changed on the way")


def dumps(value: Any) -> bytes:
    """The one deterministic encoding of `value`.

    Types: int, bool, None, float, str, bytes, list or tuple, dict, CBORTag; map keys are integers, text,
    bytes or tuples, since Python takes true for 1 and 2.0 for 2 among keys. Raises
    TypeError for other types and OverflowError for integers beyond 64 bits: both are the caller's
    mistakes, not the peer's.
    """
    out = bytearray()
    _encode(value, out)
    return bytes(out)


def loads(
    data: bytes,
    what: str = "message",
    *,
    max_size: int = MAX_SIZE,
    max_depth: int = MAX_DEPTH,
    max_items: int = MAX_ITEMS,
    tags: frozenset[int] = frozenset(),
) -> Any:
    """The value in `data`, or CborError naming `what` and the first thing wrong with it.

    `tags` are the tag numbers that may occur; they come out as `cbor2.CBORTag`.
    """
    data = bytes(data)
    if len(data) > max_size:
        raise CborError(f"the {what} has {len(data)} bytes, at most {max_size} are allowed", "too-large")
    end, is_deterministic = _scan(data, what, max_depth, max_items, tags)
    if end != len(data):
        raise CborError(f"the {what} has {len(data) - end} bytes after its end")
    try:
        value = cbor2.loads(data)
        again = data if is_deterministic else dumps(value)
    except (cbor2.CBORError, TypeError, ValueError, OverflowError) as error:
        raise CborError(f"the {what} is not valid CBOR: {error}") from error
    if again != data:
        raise CborError(f"the {what} is CBOR, but not in its deterministic encoding")
    return value


def _scan(data: bytes, what: str, max_depth: int, max_items: int, tags: frozenset[int]) -> tuple[int, bool]:
    """Offset after the first item of `data`, and whether it is surely in its deterministic encoding.

    Checks caps and well-formedness without building values.
    """
    pending = [1]  # items still to come, one entry a nesting level
    keys: list[bytes | None] = [None]  # the last key of the map at each level; None in anything else
    position = items = 0
    sure, size = True, len(data)
    while pending:
        left_here = pending[-1]
        if left_here == 0:
            pending.pop()
            keys.pop()
            continue
        pending[-1] = left_here - 1
        items += 1
        if items > max_items:
            raise CborError(f"the {what} has more than {max_items} items")
        if position >= size:
            raise CborError(f"the {what} is cut off after {size} bytes")
        start = position
        argument = data[position] & 31
        major, info = data[position] >> 5, argument
        position += 1
        if info > 23:
            if info > 27:
                raise CborError(f"the {what} has an indefinite length or a reserved head at byte {position - 1}")
            width = 1 << (info - 24)
            if position + width > size:
                raise CborError(f"the {what} is cut off after {size} bytes")
            argument = int.from_bytes(data[position : position + width], "big")
            position += width
            if major != 7 and argument < _LEAST[info]:
                sure = False
        last_key = keys[-1]
        is_key = last_key is not None and left_here % 2 == 0
        if major < 2:
            pass
        elif major < 4:
            if argument > size - position:
                raise CborError(f"the {what} has a string of {argument} bytes where {size - position} are left")
            position += argument
        elif major < 6:
            count = argument * (2 if major == 5 else 1)
            if count > size - position:
                raise CborError(f"the {what} has {count} items where {size - position} bytes are left")
            pending.append(count)
            keys.append(b"" if major == 5 else None)
        elif major == 6:
            if argument not in tags:
                raise CborError(f"the {what} has tag {argument}, which does not belong there")
            pending.append(1)
            keys.append(None)
            sure = False  # what cbor2 makes of a known tag is for `dumps` to judge
        else:
            if info < 20 or info in (23, 24):
                raise CborError(f"the {what} has a simple value other than false, true and null")
            if info > 24 and sure:
                sure = _float(struct.unpack(_FLOATS[info], data[start + 1 : position])[0]) == data[start:position]
        if is_key:
            key = data[start:position]
            if major > 3 or key <= (last_key or b""):  # no other keys are ours, and only these can be compared here
                sure = False
            keys[-1 if major not in (4, 5, 6) else -2] = key
        if len(pending) > max_depth + 1:
            raise CborError(f"the {what} is nested deeper than {max_depth}")
    return position, sure


def _head(major: int, argument: int, out: bytearray) -> None:
    if argument < 24:
        out.append(major << 5 | argument)
        return
    for info, limit, form in _HEADS:
        if argument < limit:
            out += struct.pack(form, major << 5 | info, argument)
            return
    raise OverflowError("integer beyond 64 bits")


def _encode(value: Any, out: bytearray) -> None:
    if value is None:
        out.append(0xF6)
    elif value is True or value is False:
        out.append(0xF5 if value else 0xF4)
    elif isinstance(value, int):
        _head(*((0, value) if value >= 0 else (1, -1 - value)), out)
    elif isinstance(value, float):
        out += _float(value)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        _head(2, len(value), out)
        out += value
    elif isinstance(value, str):
        text = value.encode()
        _head(3, len(text), out)
        out += text
    elif isinstance(value, (list, tuple)):
        _head(4, len(value), out)
        for item in value:
            _encode(item, out)
    elif isinstance(value, dict):
        _head(5, len(value), out)
        if any(isinstance(key, bool) or not isinstance(key, (int, str, bytes, tuple)) for key in value):
            raise TypeError("a map key must be an integer, text, bytes or an array")
        # Sorted by the bytes of the encoded keys (RFC 8949), not by their length first (RFC 7049).
        for key, item in sorted(((dumps(k), v) for k, v in value.items()), key=lambda pair: pair[0]):
            out += key
            _encode(item, out)
    elif isinstance(value, cbor2.CBORTag):
        _head(6, value.tag, out)
        _encode(value.value, out)
    else:
        raise TypeError(f"{type(value).__name__} is not allowed in our messages")


def _float(value: float) -> bytes:
    if math.isnan(value):
        return b"\xf9\x7e\x00"
    for prefix, form in ((b"\xf9", ">e"), (b"\xfa", ">f")):
        try:
            packed = struct.pack(form, value)
        except OverflowError:
            continue
        if struct.unpack(form, packed)[0] == value:
            return prefix + packed
    return b"\xfb" + struct.pack(">d", value)
