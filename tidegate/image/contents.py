"""What an image is made of: bytes by folder and file."""

from __future__ import annotations

from tidegate.image import romfs


def sizes(image: bytes) -> dict[str, int]:
    """Bytes of content by path, folders ("lib/", "lib/gate/") before what is in them, the larger first."""
    files = {path.lstrip("/"): len(data) for path, data in romfs.files(image).items()}
    totals: dict[str, int] = {}
    for path, size in files.items():
        parts = path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth]) + "/"
            totals[folder] = totals.get(folder, 0) + size
        totals[path] = size
    found: dict[str, int] = {}
    _descend("", totals, found)
    return found


def _descend(folder: str, totals: dict[str, int], found: dict[str, int]) -> None:
    inside = [
        path for path in totals if path.startswith(folder) and path != folder and "/" not in path[len(folder) : -1]
    ]
    for path in sorted(inside, key=lambda path: (-totals[path], path)):
        found[path] = totals[path]
        if path.endswith("/"):
            _descend(path, totals, found)
