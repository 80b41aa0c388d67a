"""Board descriptions: `boards/NAME/board.toml`, as far as images and releases need them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate.errors import TidegateError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")


@dataclass(frozen=True)
class LoaderRange:
    """Where in a ROM segment the loader is: bytes from its start, and how many are kept for it."""

    segment: int
    offset: int
    size: int


@dataclass(frozen=True)
class Board:
    """A board: its folder's name, a title for people, and the core mpy-cross compiles for ("" for any).

    `slot_size` is the bytes one image may have, None where the board sets no limit. `loader` is None where the loader
    is kept in files.
    """

    name: str
    title: str
    arch: str
    slot_size: int | None
    settings: dict[str, Any]
    loader: LoaderRange | None = None

    @property
    def native(self) -> bool:
        """Whether images for this board carry native modules, where they are built for its core."""
        return bool(self.arch) and self.settings.get("native") is True

    @property
    def mpy_flags(self) -> list[str]:
        return [f"-march={self.arch}"] if self.arch else []

    def check_image(self, size: int) -> None:
        """Refuse an image that does not fit a slot of this board."""
        if self.slot_size is not None and size > self.slot_size:
            raise TidegateError(
                f"the image has {size} bytes, a slot of {self.name} holds {self.slot_size}",
                "Leave something out of firmware/app",
            )


def names(root: Path) -> list[str]:
    """The boards of the project in `root`."""
    return sorted(path.parent.name for path in (root / "boards").glob("*/board.toml"))


def load(root: Path, name: str) -> Board:
    """The board `name` of the project in `root`."""
    known = ", ".join(names(root)) or "none"
    if not _NAME.match(name):
        raise TidegateError(f"{name!r} is not a board name", f"Boards here: {known}")
    path = root / "boards" / name / "board.toml"
    try:
        settings = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise TidegateError(f"there is no board {name} in {root}/boards", f"Boards here: {known}") from error
    except (OSError, ValueError) as error:
        raise TidegateError(f"{path} cannot be read: {error}", "Correct it") from error
    values = {key: settings.get(key) for key in ("name", "title", "arch")}
    wrong = [key for key, value in values.items() if not isinstance(value, str)]
    if wrong:
        raise TidegateError(f"{path} lacks the text {wrong[0]!r}", "See the other boards")
    if values["name"] != name:
        raise TidegateError(f"{path} says its board is {values['name']}", "Name the board like its folder")
    return Board(name, str(values["title"]), str(values["arch"]), _slot_size(settings), settings, _loader(settings))


def _loader(settings: dict[str, Any]) -> LoaderRange | None:
    slots = settings.get("slots", {})
    size = slots.get("loader_size", 0)
    return LoaderRange(slots["segment"], 2 * slots["block_size"], size) if size else None


def _slot_size(settings: dict[str, Any]) -> int | None:
    """Two slots share the ROM segment after the two blocks of the boot record and the loader."""
    slots = settings.get("slots", {})
    if slots.get("kind") != "rom":
        return None
    block = slots["block_size"]
    return (slots["segment_size"] // block - 2 - slots.get("loader_size", 0) // block) // 2 * block
