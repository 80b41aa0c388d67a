"""Changes to bytes, the same on every ground for the same numbers: blind ones, and ones that know CBOR."""

import cbor
from check import Random

# Heads of CBOR items, of every length form, and bytes that are a limit somewhere.
_LIKELY = (
    b"\x00\x01\x17\x18\x19\x1a\x1b\x1f\x20\x3b\x40\x58\x59\x5a\x5f\x60\x78\x7f"
    b"\x80\x98\x9f\xa0\xb8\xbf\xc0\xd2\xd8\xf4\xf6\xf9\xff"
)
_VALUES = (
    None, True, False, 0, 1, 2, 14, 23, 24, 255, 256, 65536, -1, -19, 1 << 32, (1 << 64) - 1, -(1 << 64),
    0.5, 1.0, -19.0, b"", bytes(8), bytes(32), "", "p/", [], {}, [[]], {"": 0}, {1: {}},
)  # fmt: skip
_MAX_SIZE = 4096


def random_at(seed, number):
    """The numbers for one case of a run, the same whichever cases are run before it."""
    random = Random(seed * 1000003 + number * 7919 + 1)
    random.below(2)  # states of neighbours are neighbours, what follows them is not
    random.below(2)
    return random


def blind(random, data, other):
    """data (bytes) with one to four changes; `other` is what pieces come from."""
    changed = bytearray(data)
    for _ in range(1 + random.below(4)):
        _change(random, changed, other)
    return bytes(changed)


def _change(random, data, other):
    kind = random.below(12)
    if not data or kind == 0:
        at = random.below(len(data) + 1)
        data[at:at] = random.data(1 + random.below(6))
        return
    at = random.below(len(data))
    if kind < 5:
        data[at] ^= 1 << random.below(8)
    elif kind == 5:
        data[at] = random.below(256)
    elif kind == 6:
        data[at] = _LIKELY[random.below(len(_LIKELY))]
    elif kind == 7:
        data[at] = data[at] + (1, 255)[random.below(2)] & 255
    elif kind == 8:
        data[at:] = data[at + 1 + random.below(8) :]
    elif kind == 9:
        data[:] = data[:at]
    elif kind == 10:
        piece = data[at : at + 1 + random.below(32)]
        data[at:at] = piece
    elif other:
        start = random.below(len(other))
        data[at : at + random.below(32)] = other[start : start + random.below(32)]


def knowing(random, data):
    """data with one place in the CBOR it holds replaced, removed, doubled or moved; byte strings that hold CBOR
    are opened. None if it is none."""
    try:
        value = cbor.loads(data, _MAX_SIZE)
    except cbor.CborError:
        return None
    try:
        return cbor.dumps(_within(random, value))
    except (cbor.CborError, TypeError, ValueError, OverflowError):
        return None


def _within(random, value):
    if isinstance(value, cbor.Tag) and random.below(10):
        return cbor.Tag(value.tag, _within(random, value.value))
    if isinstance(value, bytes) and len(value) > 1 and random.below(4):
        inner = knowing(random, value)
        if inner is not None:
            return inner
    if isinstance(value, list) and value and random.below(10):
        return _in_list(random, list(value))
    if isinstance(value, dict) and value and random.below(10):
        return _in_map(random, dict(value))
    return _other(random, value)


def _in_list(random, items):
    at = random.below(len(items))
    kind = random.below(10)
    if kind == 0:
        del items[at]
    elif kind == 1:
        items.insert(at, _VALUES[random.below(len(_VALUES))])
    elif kind == 2:
        items.insert(at, items[random.below(len(items))])
    elif kind == 3:
        items.append(items.pop(at))
    else:
        items[at] = _within(random, items[at])
    return items


def _in_map(random, members):
    keys = sorted(members, key=repr)
    key = keys[random.below(len(keys))]
    kind = random.below(10)
    if kind == 0:
        del members[key]
    elif kind == 1:
        members[random.below(40) - 20] = _VALUES[random.below(len(_VALUES))]
    elif kind == 2:
        members[keys[random.below(len(keys))]] = members[key]
    else:
        members[key] = _within(random, members[key])
    return members


def _other(random, value):
    kind = random.below(4)
    if isinstance(value, (bytes, str)) and kind < 2:
        return value[: random.below(len(value) + 1)] if kind else value + value[:1]
    if isinstance(value, bytes) and value and kind == 2:
        return blind(random, value, b"")
    if isinstance(value, int) and kind < 3 and value is not True and value is not False:
        return value + random.below(5) - 2
    return _VALUES[random.below(len(_VALUES))]
