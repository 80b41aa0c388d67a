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


def compare(image: bytes, before: bytes | None) -> dict[str, tuple[int, int | None]]:
    """(bytes, change against the image `before`, or None without one) by path, as `sizes` has them; what is gone comes
    last, with 0 bytes, a folder that is gone whole in place of what was in it.
    """
    tree = sizes(image)
    if before is None:
        return {path: (count, None) for path, count in tree.items()}
    old = sizes(before)
    found: dict[str, tuple[int, int | None]] = {path: (count, count - old.get(path, 0)) for path, count in tree.items()}
    gone = ""
    for path, count in old.items():
        if path not in tree and not (gone and path.startswith(gone)):
            gone = path if path.endswith("/") else gone
            found[path] = (0, -count)
    return found


def _descend(folder: str, totals: dict[str, int], found: dict[str, int]) -> None:
    inside = [
        path for path in totals if path.startswith(folder) and path != folder and "/" not in path[len(folder) : -1]
    ]
    for path in sorted(inside, key=lambda path: (-totals[path], path)):
        found[path] = totals[path]
        if path.endswith("/"):
            _descend(path, totals, found)
