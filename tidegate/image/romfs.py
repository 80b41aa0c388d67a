"""Reads MicroPython ROMFS images: what is in an image, without mounting it.

A record is a kind and a length, both big-endian base-128 numbers, and its payload; folders hold records.
It reads only what the image builder writes: folders, files with their data in place, padding.
"""

from __future__ import annotations

from tidegate.errors import Refused

MAGIC = b"\xd2\xcd\x31"
MAX_DEPTH = 8
_PADDING, _DATA, _FOLDER, _FILE = 1, 2, 4, 5


def files(image: bytes) -> dict[str, bytes]:
    """Path -> content of every file in `image`; Refused("image") if it is not a whole ROMFS image."""
    if image[:3] != MAGIC:
        raise _bad("does not begin with the ROMFS magic")
    size, start = _number(image, 3, len(image))
    if start + size != len(image):
        raise _bad(f"says it has {start + size} bytes, but has {len(image)}")
    found: dict[str, bytes] = {}
    _folder(image, start, len(image), "", 0, found)
    return found


def _folder(image: bytes, at: int, end: int, path: str, depth: int, found: dict[str, bytes]) -> None:
    if depth > MAX_DEPTH:
        raise _bad(f"is nested deeper than {MAX_DEPTH} folders")
    while at < end:
        kind, start, stop = _record(image, at, end)
        if kind in (_FOLDER, _FILE):
            size, after = _number(image, start, stop)
            if after + size > stop:
                raise _bad("is damaged: a name goes beyond its record")
            name = f"{path}/{image[after : after + size].decode('ascii', 'replace')}"
            if kind == _FOLDER:
                _folder(image, after + size, stop, name, depth + 1, found)
            else:
                found[name] = _content(image, after + size, stop)
        elif kind != _PADDING:
            raise _bad(f"has a record of the unknown kind {kind}")
        at = stop


def _content(image: bytes, at: int, end: int) -> bytes:
    while at < end:
        kind, start, stop = _record(image, at, end)
        if kind == _DATA:
            return image[start:stop]
        at = stop
    raise _bad("has a file without content")


def _record(image: bytes, at: int, end: int) -> tuple[int, int, int]:
    kind, at = _number(image, at, end)
    size, start = _number(image, at, end)
    if start + size > end:
        raise _bad("is damaged: a record goes beyond its folder")
    return kind, start, start + size


def _number(image: bytes, at: int, end: int) -> tuple[int, int]:
    value = 0
    for position in range(at, min(at + 5, end)):
        value = value << 7 | image[position] & 0x7F
        if image[position] < 0x80:
            return value, position + 1
    raise _bad("is damaged: a number does not end")


def _bad(why: str) -> Refused:
    return Refused("image", f"the image {why}", "Build it with `tidegate release build`")
