"""Codec 1 patches, sound and not, put together step by step so that every rule of docs/patch-format.md is met."""

from __future__ import annotations

import hashlib
import random

from tidegate import delta
from tidegate.delta import adaptive, container
from tidegate.delta.adaptive import CHANGE, LITERAL, NEW_COPY, OLD_COPY, SEEK, Step

_CHANCE = random.Random(31)
OLD = _CHANCE.randbytes(700) + b"".join(b"setting %d = %d\n" % (n, n * n) for n in range(80))
SIZE = len(OLD)
PIECE = 512

Entry = dict[str, str | int]


def cases() -> list[Entry]:
    """First the base in pieces, each as {"base"}: no line is longer than a board has room for. Then the patches of its
    first old_size bytes: those with new_size and new_sha256 are to be applied, the others refused."""
    pieces: list[Entry] = [{"base": OLD[at : at + PIECE].hex()} for at in range(0, SIZE, PIECE)]
    return pieces + _patches()


def _patches() -> list[Entry]:
    sound = [
        _sound("all of it", [Step(SIZE, None)]),
        _sound("one byte of it", [Step(1, None)]),
        _sound("changes at once and far apart", [*_changes(0, 0, 0, 511, 0, 1), Step(9, None)]),
        _sound("a change completes it", _changes(20, 3)),
        _sound("the last byte of the base changed", _changes(SIZE - 1)),
        _sound("literals complete it", [Step(30, LITERAL, 0, 5, b"\0\xffend")]),
        _sound("every byte value as a literal", [Step(0, LITERAL, 0, 256, bytes(range(256)))]),
        _sound("every change", [*_every_change(), Step(0, LITERAL, 0, 1, b"!")]),
        _sound("nothing but literals, more than an output buffer", [_literal(_CHANCE.randbytes(1100))]),
        _sound(
            "copies of the base, both ways",
            [
                Step(400, OLD_COPY, 50, 12),
                Step(0, OLD_COPY, -400, 3),
                Step(7, OLD_COPY, SIZE - 407 - 9, 9),
                Step(1, None),
            ],
        ),
        _sound("one byte repeated", [Step(3, NEW_COPY, 1, 700), Step(2, None)]),
        _sound("a copy that reaches into itself", [Step(3, NEW_COPY, 3, 8), Step(0, NEW_COPY, 2, 3), Step(2, None)]),
        _sound("as far back as it goes", [Step(512, NEW_COPY, 512, 512), Step(188, NEW_COPY, 512, 600)]),
        _sound(
            "a window that has come round",
            [step for n in range(9) for step in (_literal(b"part %d " % n), Step(130 + n, NEW_COPY, 137 + n, 40 + n))],
        ),
        _sound("seeks", [Step(0, SEEK, 600), Step(50, SEEK, -650), Step(10, SEEK, SIZE - 20), Step(10, None)]),
        _sound(
            "to the end of the base and back",
            [Step(0, SEEK, SIZE), _literal(b"x"), Step(0, SEEK, -SIZE), Step(4, None)],
        ),
        _sound("to nothing", [], b""),
        _sound("from nothing", [_literal(b"abc"), Step(0, NEW_COPY, 3, 30)], old=b""),
        _sound("nothing from nothing", [], old=b""),
    ]
    whole = bytes.fromhex(str(sound[2]["patch"]))
    return sound + [
        _broken("a run beyond the new file", [Step(9, None)], 8),
        _broken("a run beyond the base", [Step(0, SEEK, SIZE - 3), Step(4, None)], 4),
        _broken("a change at the end of the base", [Step(0, SEEK, SIZE), Step(0, CHANGE, 1)], 5),
        _broken("a change by nothing", [Step(0, CHANGE, 0, 1)], 1),
        _broken("literals beyond the new file", [_literal(b"12345")], 4),
        _broken("an old copy beyond the new file", [Step(0, OLD_COPY, 0, 5)], 4),
        _broken("an old copy before the base", [Step(5, OLD_COPY, -6, 3)], 9),
        _broken("an old copy behind the base", [Step(5, OLD_COPY, SIZE - 7, 3)], 9),
        _broken("a new copy beyond the new file", [Step(5, NEW_COPY, 1, 5)], 9),
        _broken("a new copy from before the new file", [Step(5, NEW_COPY, 6, 3)], 9),
        _broken("a new copy at the very start", [Step(0, NEW_COPY, 1, 3)], 9),
        _broken("a new copy from beyond the window", [Step(600, NEW_COPY, 513, 3)], 700),
        _broken("a seek to before the base", [Step(5, SEEK, -6)], 9),
        _broken("a seek to behind the base", [Step(5, SEEK, SIZE - 4)], 9),
        _broken("two seeks", [Step(5, SEEK, 6), Step(0, SEEK, 1), Step(4, None)], 9),
        _broken("two seeks at the start", [Step(0, SEEK, 6), Step(0, SEEK, -1), Step(4, None)], 4),
        _broken("a number of class 30", [Step((1 << 30) - 1, None)], 9),
        _broken("a number of class 25", [Step(0, LITERAL, 0, 1, b"x"), Step(0, SEEK, 1 << 24), Step(1, None)], 9),
        _broken("nothing, for a file of one byte", [], 1),
        _refused("no body for a file of some", whole[: delta.read_header(whole).body]),
        _refused("the last byte missing", whole[:-1]),
        _refused("a zero at the end", whole + b"\0"),
        _refused("a byte at the end", whole + b"\x80"),
        _refused("the last bit changed", whole[:-1] + bytes([whole[-1] ^ 1])),
        _refused("a body for an empty file", container.write_header(delta.ADAPTIVE, OLD, b"") + b"\x01"),
        _refused("zeros for an empty file", container.write_header(delta.ADAPTIVE, OLD, b"") + bytes(3)),
        _refused("a check of the new file that is wrong", container.write_header(
            delta.ADAPTIVE, OLD, bytes(SIZE)) + adaptive.encode([Step(SIZE, None)])),
        _refused("another base", container.write_header(delta.ADAPTIVE, OLD[::-1], OLD)
                 + adaptive.encode([Step(SIZE, None)])),
    ]  # fmt: skip


def _literal(data: bytes) -> Step:
    return Step(0, LITERAL, 0, len(data), data)


def _changes(*runs: int) -> list[Step]:
    return [Step(run, CHANGE, 1 + n * 50, 1) for n, run in enumerate(runs)]


def _every_change() -> list[Step]:
    return [Step(value % 3, CHANGE, value, 1) for value in range(1, 256)]


def _make(steps: list[Step], old: bytes) -> bytes:
    """What the steps say, read as simply as can be."""
    out = bytearray()
    position = 0
    for run, kind, value, length, data in steps:
        out += old[position : position + run]
        position += run
        if kind == CHANGE:
            out.append((old[position] + value) % 256)
            position += 1
        elif kind == LITERAL:
            out += data
        elif kind == OLD_COPY:
            out += old[position + value :][:length]
        elif kind == NEW_COPY:
            out += (bytes(out[-value:]) * (length // value + 1))[:length]
        elif kind == SEEK:
            position += value
    return bytes(out)


def _sound(why: str, steps: list[Step], new: bytes | None = None, old: bytes = OLD) -> Entry:
    made = _make(steps, old)
    if new is not None and made != new:
        raise SystemExit(f"{why}: the steps give something else")
    patch = container.write_header(delta.ADAPTIVE, old, made) + adaptive.encode(steps)
    digest = hashlib.sha256(made).hexdigest()
    return {"why": why, "old_size": len(old), "new_size": len(made), "new_sha256": digest, "patch": patch.hex()}


def _broken(why: str, steps: list[Step], new_size: int) -> Entry:
    """Steps that break a rule, in a sound stream for a new file of zeros."""
    return _refused(why, container.write_header(delta.ADAPTIVE, OLD, bytes(new_size)) + adaptive.encode(steps))


def _refused(why: str, patch: bytes) -> Entry:
    return {"why": why, "old_size": SIZE, "patch": patch.hex()}
