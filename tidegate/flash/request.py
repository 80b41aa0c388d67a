"""What to flash boards with, and what that means for one of them: its own settings and files."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

from tidegate.boards import Board
from tidegate.errors import TidegateError
from tidegate.flash import loader_files
from tidegate.flash.identify import Found
from tidegate.release import Release
from tidegate.sources import Sources

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_OWN = ("config", "credentials", "claim")


class _Loaders:
    """The compiled loader, shared by all boards that are flashed at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[bool, dict[str, bytes]] = {}

    def get(self, sources: Sources, board: Board, signature: bool) -> dict[str, bytes]:
        with self._lock:
            if signature not in self._made:
                self._made[signature] = loader_files.loader(sources.library, board, signature)
            return self._made[signature]


@dataclass
class Request:
    """What to put on a board. A file that is None must be on the board already.

    ca: authorities that TLS trusts; client: the device's own certificate and key; claim: what a new board enrols with,
    instead of credentials. Paths may hold {id}, {device} and {port}: each board has its own file then.
    slots ("rom", "file") and verify ("digest", "signature"): the loader's options; None leaves them as they are.
    """

    board: Board
    sources: Sources
    release: Release | None = None
    trust: Path | None = None
    config: Path | None = None
    credentials: Path | None = None
    claim: Path | None = None
    ca: Path | None = None
    client: tuple[Path, Path] | None = None
    wipe: bool = False
    slots: str | None = None
    verify: str | None = None
    _loaders: _Loaders = field(default_factory=_Loaders, repr=False)

    def check_for(self, boards: int) -> None:
        """Refuse to give one device's files to several boards."""
        if boards < 2:
            return
        for name in _OWN:
            path: Path | None = getattr(self, name)
            if path is None or _PLACEHOLDER.search(str(path)):
                continue
            if name == "config" and "device" not in loader_files.read_object(path, name):
                continue
            raise TidegateError(
                f"--{name} {path} is one device's, and there are {boards} boards",
                f"Name a file for each by the board's id, such as --{name} '{path.parent}/{{id}}.{name}.json'",
            )

    def for_board(self, found: Found) -> Request:
        """This request with the files of the board that was found."""
        values = {
            "id": found.unique_id,
            "device": f"{self.board.name.replace('_', '-')}-{found.unique_id}",
            "port": Path(found.port).name,
        }

        def own(path: Path | None) -> Path | None:
            return (
                None
                if path is None
                else Path(_PLACEHOLDER.sub(lambda found: _value(values, found[1], path), str(path)))
            )

        mine = replace(self, config=own(self.config), credentials=own(self.credentials), claim=own(self.claim))
        if self.client:
            certificate, key = (own(path) for path in self.client)
            mine.client = (certificate, key) if certificate and key else None
        return mine

    def settings(self) -> dict[str, bytes]:
        """The files under /tg by path, checked."""
        files = loader_files.settings(self.trust, self.config, self.credentials, self.ca, self.client, claim=self.claim)
        config = files.get("/tg/config.json")
        if config:
            self._check_config(json.loads(config))
        return files

    def _check_config(self, config: dict[str, object]) -> None:
        named = config.get("board", self.board.name)
        if named != self.board.name:
            raise TidegateError(
                f"{self.config} is for a board {named!r}, this one is a {self.board.name}",
                "Correct board in it, or name another file",
            )
        if self.board.settings.get("network", {}).get("kind") == "none" and config.get("uplink") != "usb":
            raise TidegateError(
                f"{self.config} asks for a network, and a {self.board.name} has none",
                'Set "uplink": "usb" in it: it reaches its server through its cable then, with `tidegate link`',
            )
        if self.release is None:
            return
        for key in ("product", "vendor"):  # a device is offered releases by these: with others it would never get one
            if config.get(key) != getattr(self.release, key):
                raise TidegateError(
                    f"{self.config} has the {key} {config.get(key)!r}, the release {getattr(self.release, key)!r}",
                    f"Correct {key} in it, or name another release",
                )

    def loader(self, signature: bool) -> dict[str, bytes]:
        """The loader's files by path, compiled. signature: with what verifies signatures."""
        return self._loaders.get(self.sources, self.board, signature)


def _value(values: dict[str, str], name: str, path: Path) -> str:
    if name not in values:
        known = ", ".join("{" + known + "}" for known in values)
        raise TidegateError(f"{path} has {{{name}}} in its name", f"Known are {known}")
    return values[name]
