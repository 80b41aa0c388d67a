"""What a firmware with a frozen agent holds, and what an image for it leaves out.

A board's build of such a firmware writes frozen.json: each module's digest, over what the image's compiler makes of it.
An image leaves out the modules that are the same, and has nine bytes in the place of each, which the firmware reads
(boards/frozen/frozen.c); others are in the image as ever, and come before the firmware's. The image begins with
the digest of all that the firmware holds: boards with another one refuse it before it is switched to, and do not boot
it (firmware/boot/slots.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate import json_text
from tidegate.boards import Board
from tidegate.errors import TidegateError
from tidegate.files import read_limited

if TYPE_CHECKING:
    from tidegate.sources import Sources

MARK = "FROZEN"  # the file with the digest; it comes first in an image, where the loader looks for it
LEFT_OUT = b"F"  # the first byte in a module's place; compiled modules begin with an M
DIGEST_SIZE = 8
_MAX_SIZE = 1 << 20
_REMEDY = "Name the frozen.json that the firmware's build wrote: `tidegate docs image`"


@dataclass(frozen=True)
class Firmware:
    """A firmware of `board`. modules: place of each in lib, as gate/agent.py, and its digest."""

    board: str
    modules: Mapping[str, bytes]

    @classmethod
    def of(cls, board: str, compiled: Mapping[str, bytes]) -> Firmware:
        """The firmware that holds these compiled modules."""
        return cls(board, {place: digest(module) for place, module in compiled.items()})

    @property
    def digest(self) -> bytes:
        """Of all that it holds; firmwares with the same modules have the same one."""
        lines = [f"{place} {held.hex()}\n" for place, held in sorted(self.modules.items())]
        return digest("".join(lines).encode())

    def encode(self) -> str:
        modules = {place: held.hex() for place, held in sorted(self.modules.items())}
        return json.dumps({"board": self.board, "modules": modules}, indent=1) + "\n"

    def stands_for(self, place: str, module: bytes) -> bytes | None:
        """What an image has in place of the compiled `module`; None if the firmware holds another one or none."""
        held = self.modules.get(place)
        return LEFT_OUT + held if held is not None and held == digest(module) else None


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:DIGEST_SIZE]


def read(path: Path) -> Firmware:
    """The Firmware of a frozen.json; TidegateError if it is none."""
    return decode(read_limited(path, _MAX_SIZE, "firmware's list of modules"), str(path))


def decode(data: bytes, name: str) -> Firmware:
    """As read, of the file's content; name: the file's, for errors."""
    try:
        found = json_text.loads(data)
    except json_text.NotJson as error:
        raise TidegateError(f"{name} {error}", _REMEDY) from error
    if isinstance(found, dict) and found.keys() == {"board", "modules"} and isinstance(found["modules"], dict):
        try:
            modules = {place: bytes.fromhex(held) for place, held in found["modules"].items()}
        except (TypeError, ValueError):
            modules = {"": b""}
        if isinstance(found["board"], str) and all(len(held) == DIGEST_SIZE for held in modules.values()):
            return Firmware(found["board"], modules)
    raise TidegateError(f"{name} does not say what a firmware holds", _REMEDY)


def of_sources(sources: Sources, board: Board) -> Firmware | None:
    """The firmware that images of these sources for `board` rely on; None if they hold everything themselves."""
    found = [firmware for firmware in map(read, sources.frozen) if firmware.board == board.name]
    if len(found) > 1:
        raise TidegateError(f"`frozen` names two firmwares of {board.name}", _REMEDY)
    return found[0] if found else None
