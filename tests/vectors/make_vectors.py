#!/usr/bin/env python3
"""Writes the vectors that the tests of host and device both read, with the host library and fixed keys.

    python tests/vectors/make_vectors.py            write them
    python tests/vectors/make_vectors.py --check    exit code 1 if a file is not what this would write

Deterministic: the same library gives the same files, so a change of a vector shows in review.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]

import adaptive  # noqa: E402
import commands  # noqa: E402
import common  # noqa: E402
import manifests  # noqa: E402
import messages  # noqa: E402
import proofs  # noqa: E402
import rotations  # noqa: E402

from tidegate import delta  # noqa: E402


def documents() -> dict[str, list[Any]]:
    """File name -> entries; the first may say what the others are about ("kind": "setup")."""
    return {
        "keys.json": [common.key_facts()],
        "manifests.json": [manifests.setup(), *manifests.cases()],
        "commands.json": [commands.setup(), *commands.cases()],
        "messages.json": messages.messages(),
        "proofs.json": proofs.cases(),
        "trust.json": messages.stores(),
        "rotations.json": rotations.cases(),
        "quorums.json": rotations.quorums(),
        "ids.json": messages.ids(),
        "senml.json": messages.packs(),
        "host_patches.json": patches(),
        "adaptive_patches.json": adaptive.cases(),
    }


def patches() -> list[dict[str, str]]:
    """Patches as the host makes them, for the device to apply."""
    chance = random.Random(10)
    noise = chance.randbytes(500)
    text = b"".join(b"line %d of a file that changes slowly\n" % n for n in range(16))
    changed = bytearray(noise)
    for at in range(0, 500, 47):
        changed[at] ^= 0x55
    pairs = {
        "the same": (noise, noise),
        "single bytes changed": (noise, bytes(changed)),
        "a line inserted": (text, text[:300] + b"a new line\n" + text[300:]),
        "halves exchanged": (noise, noise[250:] + noise[:250]),
        "every line changed": (text, text.replace(b"slowly", b"fast")),
        "nothing in common": (text, noise),
        "from nothing": (b"", text),
        "to nothing": (text, b""),
    }
    return [
        {"why": f"{why}, {name}", "old": old.hex(), "new": new.hex(), "patch": delta.make(old, new, [codec]).hex()}
        for codec, name in delta.CODECS.items()
        for why, (old, new) in pairs.items()
    ]


def encode(entries: list[Any]) -> str:
    """JSON with one entry a line: a difference is a line, and a device reads line by line."""
    return "[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n"


def main() -> int:
    stale = []
    for name, entries in documents().items():
        path, text = HERE / name, encode(entries)
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.write_text(text)
    if "--check" in sys.argv and stale:
        print(f"not what make_vectors.py would write: {', '.join(stale)}", file=sys.stderr)
        return 1
    print(f"written: {', '.join(stale)}" if stale else "all vectors are current")
    return 0


if __name__ == "__main__":
    sys.exit(main())
