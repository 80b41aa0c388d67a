"""The loader's options: `boot.json` in the board's folder, written by flashing only.

{"slots": "rom" | "file", "verify": "digest" | "signature"}. A missing key, or a missing file,
means the default. Anything that cannot be understood is an error, never a default: a damaged file
must not turn the check of signatures off.
"""

import json
import os

from boot import FILES, ROM, const

FILE = "/boot.json"
DIGEST = "digest"
SIGNATURE = "signature"
_MAX_SIZE = const(512)  # bytes of the file


class OptionsError(Exception):
    """The options cannot be used; the text names file, key and remedy."""


class Options:
    """slots: where images are stored, ROM or FILES; verify: what is checked before a slot runs,
    DIGEST or SIGNATURE.
    """

    def __init__(self, slots, verify):
        self.slots = slots
        self.verify = verify


def read(board):
    """The Options of this board; raises OptionsError."""
    path = board.folder + FILE
    found = _load(path)
    for key in found:
        if key not in ("slots", "verify"):
            raise _wrong(path, "%s is unknown" % key)
    kinds = (ROM, FILES) if board.rom_size() else (FILES,)
    kind = found.get("slots", board.slots)
    if kind not in kinds:
        raise _wrong(path, "slots must be " + " or ".join(kinds))
    verify = found.get("verify", DIGEST)
    if verify not in (DIGEST, SIGNATURE):
        raise _wrong(path, "verify must be digest or signature")
    return Options(kind, verify)


def _load(path):
    try:
        if os.stat(path)[6] > _MAX_SIZE:
            raise _wrong(path, "has more than %d bytes" % _MAX_SIZE)
    except OSError:
        return {}
    try:
        with open(path) as file:
            text = file.read().strip()
        # MicroPython's json accepts a text that was cut off.
        found = json.loads(text) if text.endswith("}") else None
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise _wrong(path, "is not a JSON object")
    return found


def _wrong(path, what):
    return OptionsError("%s: %s; write it again (tidegate flash --slots --verify)" % (path, what))
