"""Notices that a project's files were saved."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

Snapshot = dict[str, tuple[int, int]]  # path -> (time of its last change in ns, bytes)
_NOT_SOURCES = ("~", ".swp", ".swx", ".tmp", ".pyc", ".orig")


class Watcher:
    """Looks at files and folders; what is hidden, and what editors leave beside a file, does not count."""

    def __init__(self, paths: Iterable[Path]):
        self._paths = tuple(paths)
        self._seen = self._look()
        self._pending: Snapshot | None = None

    def watch(self, paths: Iterable[Path]) -> None:
        """Look at `paths` from now on; what was saved in those looked at before still counts."""
        new = tuple(paths)
        added = Watcher(path for path in new if path not in self._paths)
        self._paths = new
        self._seen.update(added._seen)

    def changed(self) -> list[Path]:
        """What was saved, made or removed since the last time this said so. A change counts once two looks in a row
        agree, because editors write in steps."""
        now = self._look()
        if now == self._seen:
            self._pending = None
            return []
        if now != self._pending:
            self._pending = now
            return []
        names = sorted(name for name in {*now, *self._seen} if now.get(name) != self._seen.get(name))
        self._seen, self._pending = now, None
        return [Path(name) for name in names]

    def _look(self) -> Snapshot:
        found = {}
        for path in self._paths:
            for file in _files(path):
                try:
                    status = file.stat()
                except OSError:  # removed between listing and looking
                    continue
                found[str(file)] = (status.st_mtime_ns, status.st_size)
        return found


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if name[0] != "." and name != "__pycache__"]
        yield from (Path(folder, name) for name in names if name[0] != "." and not name.endswith(_NOT_SOURCES))
