"""What images are built from: Tidegate's own part, one's application, and boards of both.

Everything that builds or flashes gets one of these; nothing looks for sources anywhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tidegate import boards
from tidegate.boards import Board


@dataclass(frozen=True)
class Sources:
    """folder: the project, whose git repository names the commit. library: Tidegate's part, laid out as a checkout.
    app: the application's folder, which becomes /app. own_boards: a folder of boards of one's own, which may be absent.
    tracked: what of `folder` images depend on, as names in it.
    """

    folder: Path
    library: Path
    app: Path
    own_boards: Path | None = None
    tracked: tuple[str, ...] = ("firmware", "boards")

    @classmethod
    def checkout(cls, root: Path) -> Sources:
        """A checkout of Tidegate, or a folder laid out as one: firmware/ and boards/ hold everything."""
        return cls(root, root, root / "firmware" / "app")

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
