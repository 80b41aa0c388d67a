"""What images are built from: Tidegate's own part, one's application, and boards of both.

Everything that builds or flashes gets one of these; nothing looks for sources anywhere else.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tidegate import boards
from tidegate.boards import Board
from tidegate.errors import TidegateError
from tidegate.toml_tables import Key, check_table, line_of

_PATH = re.compile(r"(?!.*\.\.)[\w.-][\w./-]{0,190}")
EXAMPLE = "examples/vehicle-gateway"  # the application of a checkout that has none in firmware/app
# Of [image] in tidegate.toml, and in firmware/image.toml beside a firmware/app. What a feature is:
# tidegate/image/features.py.
IMAGE_KEYS = {
    "features": Key(list, "features that images hold, all without this key", pattern=re.compile("[a-z0-9-]{2,32}")),
    "modules": Key(list, "modules that images hold though nothing imports them", pattern=re.compile(r"[\w.]{1,64}")),
    "frozen": Key(list, "files that say what firmwares of one's own hold, which images leave out", pattern=_PATH),
    "lines": Key(bool, "whether tracebacks name lines; images without are smaller"),
}
# Of [libraries] in tidegate.toml. What a library may be called: tidegate/libraries/requirement.py.
LIBRARY_KEYS = {
    "requires": Key(list, "libraries of others"),
    "index": Key(str, "the address of an index in mip's form", pattern=re.compile(r"https?://[^\s@?#]{1,190}")),
}


@dataclass(frozen=True)
class Sources:
    """folder: the project, whose git repository names the commit. library: Tidegate's part, laid out as a checkout.
    app: the application's folder, which becomes /app. own_boards: a folder of boards of one's own, which may be absent.
    tracked: what of `folder` images depend on, as names in it, first the file with the table [image]. Of that table:
    features: those that images hold (tidegate/image/features.py), None for all; modules: held though nothing imports
    them; lines: whether tracebacks name lines; frozen: what firmwares hold (tidegate/image/frozen.py). Of the table
    [libraries]: requires, and the index that names in it are looked up in, None for mip's own (tidegate/libraries);
    cache: where the libraries of others are.
    """

    folder: Path
    library: Path
    app: Path
    own_boards: Path | None = None
    tracked: tuple[str, ...] = ("firmware", "boards", f"{EXAMPLE}/app", f"{EXAMPLE}/tidegate.toml")
    features: tuple[str, ...] | None = None
    modules: tuple[str, ...] = ()
    lines: bool = True
    frozen: tuple[Path, ...] = ()
    requires: tuple[str, ...] = ()
    index: str | None = None
    cache: Path = Path("libraries")

    @classmethod
    def checkout(cls, root: Path) -> Sources:
        """A checkout of Tidegate, or a folder laid out as one. Its application is firmware/app where there is one, as
        in forks and in commits until 2026, with [image] in firmware/image.toml; else the example, with [image] in its
        tidegate.toml. Either file may be absent.
        """
        own = root / "firmware" / "app"
        if own.is_dir():
            return cls(root, root, own, **_image_table(root / "firmware" / "image.toml"))
        return cls(root, root, root / EXAMPLE / "app", **_image_table(root / EXAMPLE / "tidegate.toml"))

    @property
    def is_checkout(self) -> bool:
        return self.folder == self.library

    def moved(self, folder: Path) -> Sources:
        """The same of another copy of the project, in `folder`."""
        if self.is_checkout:
            return Sources.checkout(folder)
        return replace(
            self,
            folder=folder,
            app=folder / self.app.relative_to(self.folder),
            own_boards=self.own_boards and folder / self.own_boards.relative_to(self.folder),
            **_image_table(folder / self.tracked[0]),
            **_libraries_table(folder / self.tracked[0]),
        )

    def board(self, name: str) -> Board:
        """The board `name`, one's own first; TidegateError if there is none."""
        return boards.load(self.library, name, self.own_boards)

    def board_names(self) -> list[str]:
        return boards.names(self.library, self.own_boards)

    def describe(self) -> str:
        """One line for people: which folders an image is made from."""
        where = "" if self.is_checkout else f"; Tidegate: {self.library}"
        app = self.app.relative_to(self.folder) if self.app.is_relative_to(self.folder) else self.app
        return f"{self.folder} (application: {app}/{where})"


def image_keys(table: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What a checked table [image] says, as fields of Sources; its paths begin in `folder`."""
    features = table.get("features")
    return {
        "features": None if features is None else tuple(features),
        "modules": tuple(table.get("modules", ())),
        "lines": table.get("lines", True),
        "frozen": tuple(folder / name for name in table.get("frozen", ())),
    }


def library_keys(table: Mapping[str, Any]) -> dict[str, Any]:
    """What a checked table [libraries] says, as fields of Sources."""
    return {"requires": tuple(dict.fromkeys(table.get("requires", ()))), "index": table.get("index")}


def _image_table(path: Path) -> dict[str, Any]:
    return image_keys(_table(path, "image", IMAGE_KEYS), path.parent)


def _libraries_table(path: Path) -> dict[str, Any]:
    return library_keys(_table(path, "libraries", LIBRARY_KEYS))


def _table(path: Path, name: str, keys: Mapping[str, Key]) -> dict[str, Any]:
    """One table of a file, which may be absent, its `keys` checked; its other keys and tables are not looked at."""
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text).get(name, {})
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise TidegateError(f"{path} cannot be read: {error}", "Correct it; `tidegate docs image` shows it") from error
    if not isinstance(values, dict):
        raise _wrong(path, text, name, f"must be a table, [{name}]")
    table = {key: value for key, value in values.items() if key in keys}
    check_table(name, keys, table, partial(_wrong, path, text))
    return table


def _wrong(path: Path, text: str, key: str, what: str) -> TidegateError:
    line = line_of(text, key)
    return TidegateError(f"{path}{f':{line}' if line else ''}: {key} {what}", "`tidegate docs project` lists the keys")
