"""The device's cbor and cbor2, which is not ours, agree: on what made-up objects mean, both ways, and on bad input.

Whatever the device takes cbor2 takes as well, and means by it what the device does; whatever cbor2 takes and
deterministic encoding (RFC 8949 section 4.2.1) would write the same way, the device takes, but for what its page says
it does not (docs/cbor.md). Ground: CPython, MicroPython's unix port.
"""

from __future__ import annotations

import io
import math
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import cbor2
import pytest
from patience import limit

ROOT = Path(__file__).resolve().parents[3]
UNIX = ROOT / "build" / "unix" / "micropython"
DEVICE = ROOT / "tests/host/support/cbor_device.py"
COUNTS = {"cpython": 12000, "unix": 4000}
MAX_DEPTH, MAX_ITEMS, MAX_SIZE = 8, 256, 2048  # what loads takes
TAGS = range(60000, 70000)  # that cbor2 has no meaning for


class NotTaken(Exception):
    """The device's cbor has no such type, by its page."""


def head(major: int, number: int) -> bytes:
    data = bytearray(cbor2.dumps(number))
    data[0] |= major << 5
    return bytes(data)


def reference(value: Any, depth: int = MAX_DEPTH) -> bytes:
    """The deterministic encoding, put together here from cbor2's leaves."""
    if isinstance(value, float):
        return reference_float(value)
    if value is None or isinstance(value, (bool, bytes, str)):
        return cbor2.dumps(value)
    if isinstance(value, int):
        if not -(1 << 64) <= value < 1 << 64:
            raise NotTaken("bignum")
        return cbor2.dumps(value)
    if depth == 0:
        raise NotTaken("depth")
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(reference(item, depth - 1) for item in value)
    if isinstance(value, dict):
        pairs = []
        for key, item in value.items():
            if isinstance(key, bool) or not isinstance(key, (int, str, bytes)):
                raise NotTaken("key")
            pairs.append((reference(key), reference(item, depth - 1)))
        return head(5, len(pairs)) + b"".join(key + item for key, item in sorted(pairs))
    if isinstance(value, cbor2.CBORTag):
        return head(6, value.tag) + reference(value.value, depth - 1)
    raise NotTaken(type(value).__name__)


def reference_float(value: float) -> bytes:
    """Python's own halves and singles: cbor2 5 writes halves of exponent 15, such as 65504.0, as singles."""
    if math.isnan(value):
        return b"\xf9\x7e\x00"
    for code, first in ((">e", b"\xf9"), (">f", b"\xfa")):
        try:
            data = struct.pack(code, value)
        except OverflowError:
            continue
        if struct.unpack(code, data)[0] == value:
            return first + data
    return b"\xfb" + struct.pack(">d", value)


def items(value: Any) -> int:
    if isinstance(value, list):
        return 1 + sum(map(items, value))
    if isinstance(value, dict):
        return 1 + sum(1 + items(item) for item in value.values())
    return 1 + items(value.value) if isinstance(value, cbor2.CBORTag) else 1


def made(chance: random.Random, depth: int = 4) -> Any:
    kind = chance.randrange(9 if depth else 6)
    if kind < 2:
        number = chance.getrandbits(chance.randrange(1, 65))
        return -1 - number if kind else number
    if kind == 2:
        return chance.randbytes(chance.choice((0, 3, 23, 24, 60)))
    if kind == 3:
        return "".join(chr(chance.choice((65, 0xE4, 0x3C0, 0x6C34, 0x1F600)) + chance.randrange(9)) for _ in range(9))
    if kind == 4:
        return chance.choice((None, True, False))
    if kind == 5:
        code = chance.choice((">e", ">f", ">d"))
        return struct.unpack(code, chance.randbytes(struct.calcsize(code)))[0]
    if kind == 6:
        return [made(chance, depth - 1) for _ in range(chance.randrange(7))]
    if kind == 7:
        keys: list[Any] = [chance.getrandbits(chance.randrange(1, 33)), -1 - chance.getrandbits(9)]
        keys += ["k" * chance.randrange(30), chance.randbytes(3)]
        return {key: made(chance, depth - 1) for key in chance.sample(keys, chance.randrange(len(keys)))}
    return cbor2.CBORTag(chance.choice(TAGS), made(chance, depth - 1))


def spoiled(chance: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(out) + 1)
        way = chance.randrange(5)
        if way == 0 and out:
            out[at % len(out)] ^= 1 << chance.randrange(8)
        elif way == 1:
            out[at:at] = chance.randbytes(1)
        elif way == 2:
            del out[at : at + chance.randrange(1, 4)]
        elif way == 3 and out:
            out[at % len(out)] = chance.randrange(256)
        else:
            out = out[:at]
    return bytes(out)


def device(ground: str, *arguments: object) -> list[str]:
    if ground == "unix" and not UNIX.exists():
        pytest.skip(f"{UNIX} is not built")
    program = [sys.executable] if ground == "cpython" else [str(UNIX), "-X", "heapsize=4m"]
    command = [*program, str(DEVICE), str(ROOT / "firmware/lib"), *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=limit(120))
    return done.stdout.split("\n")[:-1]


def answers(ground: str, folder: Path, inputs: list[bytes]) -> list[str]:
    path = folder / "inputs"
    path.write_text("".join(data.hex() + "\n" for data in inputs))
    told = device(ground, path)
    assert len(told) == len(inputs)
    return told


@pytest.mark.parametrize("ground", COUNTS)
def test_the_device_reads_what_others_write(ground: str, tmp_path: Path) -> None:
    chance = random.Random(1)
    inputs = []
    while len(inputs) < COUNTS[ground]:
        value = made(chance)
        data = reference(value)
        if len(data) <= MAX_SIZE and items(value) <= MAX_ITEMS:
            inputs.append(data)
    for data, told in zip(inputs, answers(ground, tmp_path, inputs), strict=True):
        assert told == data.hex()


@pytest.mark.parametrize("ground", COUNTS)
def test_others_read_what_the_device_writes(ground: str) -> None:
    lines = device(ground, "make", COUNTS[ground])
    assert len(lines) == COUNTS[ground]
    for line in lines:
        assert reference(cbor2.loads(bytes.fromhex(line))).hex() == line


@pytest.mark.parametrize("ground", COUNTS)
def test_they_agree_on_bad_input(ground: str, tmp_path: Path) -> None:
    chance = random.Random(2)
    inputs = [chance.randbytes(chance.randrange(1, 12)) for _ in range(COUNTS[ground] // 2)]
    while len(inputs) < COUNTS[ground]:
        inputs.append(spoiled(chance, reference(made(chance))) or b"\x00")
    inputs = [data for data in inputs if len(data) <= MAX_SIZE]
    taken = refused = 0
    for data, told in zip(inputs, answers(ground, tmp_path, inputs), strict=True):
        wanted = by_cbor2(data)
        if told == "no":
            refused += 1
            assert wanted is not True, f"{data.hex()} is deterministic CBOR, and refused"
        else:
            taken += 1
            assert told == data.hex()
            assert wanted is not False, f"{data.hex()} is taken"
    assert taken > len(inputs) / 50 and refused > len(inputs) / 2, (taken, refused)


def by_cbor2(data: bytes) -> bool | None:
    """Whether cbor2 says that this is one item, deterministic and of our types; None: it gives it a meaning of its own,
    so that it cannot be written again."""
    stream = io.BytesIO(data)
    try:
        value = cbor2.CBORDecoder(stream).decode()
    except RecursionError:
        return None
    except Exception:
        return None if tagged(data) else False
    if stream.tell() != len(data):
        return False
    try:
        return reference(value) == data and items(value) <= MAX_ITEMS
    except (NotTaken, cbor2.CBOREncodeError, UnicodeError):
        return None


def tagged(data: bytes) -> bool:
    """Whether there may be a tag that cbor2 gives a meaning, and finds wanting."""
    return any(byte >> 5 == 6 for byte in data)
