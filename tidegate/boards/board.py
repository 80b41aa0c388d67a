"""Board descriptions: `boards/NAME/board.toml`, checked (tidegate/boards/schema.py)."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidegate.boards import schema
from tidegate.boards.schema import BoardFileError
from tidegate.errors import TidegateError
from tidegate.names import BOARD

MICROPYTHON = "1.25"  # the oldest that images run on, where board.toml asks for no newer one


@dataclass(frozen=True)
class LoaderRange:
    """Where in a ROM segment the loader is: bytes from its start, and how many are reserved for it."""

    segment: int
    offset: int
    size: int


@dataclass(frozen=True)
class Board:
    """A board: its folder's name, a title for people, and the core mpy-cross compiles for ("" for any).

    `slot_size` is the bytes one image may have, None where the board sets no limit. `loader` is None where the loader
    is in files.
    """

    name: str
    title: str
    arch: str
    slot_size: int | None
    settings: dict[str, Any]
    loader: LoaderRange | None = None
    modules: list[str] = field(default_factory=list)  # modules of boards/common that its board.py imports
    folder: Path = Path()  # where its board.toml and board.py are

    @property
    def machine(self) -> str:
        """Part of what sys.implementation._machine says there."""
        return str(self.settings.get("flash", {}).get("machine", ""))

    @property
    def root(self) -> str:
        """Where its MicroPython mounts the file system."""
        return str(self.settings.get("flash", {}).get("root", "/"))

    @property
    def watchdog_ms(self) -> int:
        """The longest timeout of a watchdog that must be fed while flashing; 0 for none."""
        return int(self.settings.get("flash", {}).get("watchdog_ms", 0))

    @property
    def micropython(self) -> tuple[int, ...]:
        """The oldest MicroPython that its images run on."""
        return tuple(int(part) for part in self.settings.get("flash", {}).get("micropython", MICROPYTHON).split("."))

    @property
    def native(self) -> bool:
        """Whether images for this board carry native modules, where they are built for its core."""
        return bool(self.arch) and self.settings.get("native") is True

    @property
    def in_place(self) -> bool:
        """Whether machine code is executed where the image is mapped, instead of being loaded into RAM."""
        return self.native and self.settings.get("in_place") is True

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


def names(root: Path, own: Path | None = None) -> list[str]:
    """The boards in `root`/boards, and those in the folder `own`."""
    folders = [root / "boards", *([own] if own else [])]
    return sorted({path.parent.name for folder in folders for path in folder.glob("*/board.toml")})


def load(root: Path, name: str, own: Path | None = None) -> Board:
    """The board `name`: of the folder `own` if it is there, else of `root`/boards."""
    known = names(root, own)
    remedy = f"Boards here: {', '.join(known) or 'none'}"
    BOARD.check(name, remedy)
    path = root / "boards" / name / "board.toml"
    if own and (own / name / "board.toml").exists():
        path = own / name / "board.toml"
    try:
        settings = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        close = difflib.get_close_matches(name, known, 1)
        raise TidegateError(
            f"there is no board {name} in {own or root / 'boards'}",
            f"Did you mean {close[0]}? {remedy}" if close else remedy,
        ) from error
    except (OSError, ValueError) as error:
        raise BoardFileError(f"{path} cannot be read: {error}", "Correct it") from error
    schema.check(path, settings)
    if settings["name"] != name:
        raise BoardFileError(f"{path}: name is {settings['name']!r}", "Name the board like its folder")
    return Board(
        name,
        settings["title"],
        settings["arch"],
        _slot_size(settings),
        settings,
        _loader(settings),
        settings.get("modules", []),
        path.parent,
    )


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
