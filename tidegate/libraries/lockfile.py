"""tidegate.lock: what each required library was found to be, file by file, with the SHA-256 of each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate import json_text
from tidegate.errors import TidegateError
from tidegate.files import read_limited
from tidegate.libraries.requirement import Requirement

LOCK = "tidegate.lock"
FORM = 1
MAX_LOCK = 1 << 20
MAX_FILE = 256 * 1024
MAX_TOTAL = 4 << 20  # bytes of all libraries
MAX_FILES = 300
MAX_PATH = 100
ANEW = "`tidegate lock --update` writes it anew"
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PATH = re.compile(r"(?:[\w-][\w.-]*/){0,8}[\w-][\w.-]*", re.ASCII)


class LibraryError(TidegateError):
    """A library that cannot be had, or is not what it was."""


@dataclass(frozen=True)
class File:
    """path: below /lib of the image. url: where these bytes came from."""

    path: str
    sha256: str
    size: int
    url: str


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    files: tuple[File, ...]


@dataclass(frozen=True)
class Entry:
    """One required library and all it depends on. needs: what a folder's package.json names as its dependencies."""

    require: str
    index: str
    needs: tuple[tuple[str, str], ...]
    packages: tuple[Package, ...]

    @property
    def files(self) -> list[File]:
        return [file for package in self.packages for file in package.files]


def check_path(path: Any) -> str:
    """`path` as a name below /lib; ValueError for what could leave it, or hide in it."""
    if not isinstance(path, str) or len(path) > MAX_PATH or not _PATH.fullmatch(path):
        raise ValueError(f"{path!r:.120} is not a path below lib/")
    return path


def check_bounds(entries: Iterable[Entry]) -> None:
    """LibraryError where all libraries together are more than an image could ever hold."""
    files = [file for entry in entries for file in entry.files]
    if len(files) > MAX_FILES or sum(file.size for file in files) > MAX_TOTAL:
        raise LibraryError(
            f"the libraries have {len(files)} files of {sum(file.size for file in files)} bytes; "
            f"a project may have {MAX_FILES} files of {MAX_TOTAL} bytes",
            "Require less; libraries such as aioble have smaller parts, such as aioble-central",
        )


def read(path: Path) -> tuple[Entry, ...] | None:
    """The entries of the lock `path`; None where there is none, LibraryError where it is not a lock."""
    if not path.exists():
        return None
    try:
        value = json_text.loads(read_limited(path, MAX_LOCK, "lock"))
        if value["form"] != FORM:
            raise LibraryError(f"{path} is of form {value['form']!r:.20}, and this tidegate knows {FORM}", ANEW)
        entries = tuple(_entry(one) for one in value["libraries"])
    except json_text.NotJson as error:
        raise LibraryError(f"{path} {error}", ANEW) from error
    except (KeyError, TypeError, ValueError) as error:
        raise LibraryError(f"{path} is not a lock of libraries: {error}", ANEW) from error
    check_bounds(entries)
    return entries


def encode(entries: Iterable[Entry]) -> bytes:
    """The lock's text. The same libraries give the same bytes."""
    libraries = [
        {
            "require": entry.require,
            "index": entry.index,
            "needs": [list(pair) for pair in entry.needs],
            "packages": [
                {"name": package.name, "version": package.version, "files": [vars(file) for file in package.files]}
                for package in entry.packages
            ],
        }
        for entry in sorted(entries, key=lambda entry: entry.require)
    ]
    return json.dumps({"form": FORM, "libraries": libraries}, indent=1).encode() + b"\n"


def _entry(value: Any) -> Entry:
    return Entry(
        Requirement.read(_text(value["require"])).text,
        _text(value["index"]),
        tuple((_text(name), _text(version)) for name, version in value["needs"]),
        tuple(
            Package(_text(one["name"]), _text(one["version"]), tuple(_file(file) for file in one["files"]))
            for one in value["packages"]
        ),
    )


def _file(value: Any) -> File:
    size, digest = value["size"], _text(value["sha256"])
    if type(size) is not int or not 0 <= size <= MAX_FILE:
        raise ValueError(f"a size of {size!r:.20}")
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"a digest {digest!r:.80}")
    return File(check_path(value["path"]), digest, size, _text(value["url"]))


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 400:
        raise ValueError(f"{value!r:.80} in place of a text")
    return value
