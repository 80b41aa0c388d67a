"""Finds what a required library consists of, by mip's own rules: mpremote's code decides which description is read,
which files it means, and what it depends on.

It runs as a module of its own, in which three functions are ours: what installs one package (to know which one is at
work, and to end circles), what reads a description, and what fetches a file. So nothing is written, printed or fetched
but by us, and mpremote's module in this process stays as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import re
import urllib.error
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from tidegate import json_text
from tidegate.libraries.downloads import Downloads
from tidegate.libraries.lockfile import MAX_FILES, MAX_TOTAL, File, LibraryError, Package, check_path
from tidegate.libraries.requirement import Requirement

INDEX = "https://micropython.org/pi/v2"  # mip's
MAX_PACKAGES = 60
MAX_DESCRIPTION = 64 * 1024
_TARGET = "lib"
_SHORT = re.compile(r"[0-9a-f]{8,64}", re.ASCII)
_FORGE = re.compile(r"(?:github|gitlab|codeberg):", re.ASCII)
_VERSION = re.compile(r"[\w.+/-]{0,64}", re.ASCII)
_AUTHOR = "Tell its author, or require another version"


def resolve(
    wanted: Sequence[tuple[str, str | None]], index: str, downloads: Downloads, what: str
) -> tuple[Package, ...]:
    """The packages that mip would install for `wanted`, (package, version) each; `what` names them in errors."""
    return _Resolving(index.rstrip("/"), downloads, what).packages_of(wanted)


def described(data: bytes, where: str) -> dict[str, Any]:
    """A package.json, checked: members `hashes`, `urls` and `deps` are lists of pairs of texts, targets stay below
    /lib, and dependencies are what mip would look for in an index or at an address."""
    if len(data) > MAX_DESCRIPTION:
        raise LibraryError(f"{where} has more than {MAX_DESCRIPTION} bytes", _AUTHOR)
    try:
        found = json_text.loads(data)
        if not isinstance(found, dict):
            raise ValueError("is not an object")
        for path, short in _pairs(found, "hashes"):
            check_path(path)
            if not _SHORT.fullmatch(short):
                raise ValueError(f"has {short!r:.80} in place of a hash")
        for path, url in _pairs(found, "urls"):
            check_path(path)
            if _FORGE.match(url):
                Requirement.read(url)
        for name, version in _pairs(found, "deps"):
            if Requirement.read(name).kind == "folder" or not _VERSION.fullmatch(version):
                raise ValueError(f"depends on {name!r:.80}, version {version!r:.80}")
    except ValueError as error:
        raise LibraryError(f"{where}: {error}", _AUTHOR) from error
    return found


def _pairs(found: dict[str, Any], name: str) -> list[tuple[str, str]]:
    pairs = found.get(name, [])
    if not isinstance(pairs, list) or len(pairs) > MAX_FILES:
        raise ValueError(f"{name} is not a list of at most {MAX_FILES}")
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise ValueError(f"{name} has {pair!r:.80} in it, which is not a pair of texts")
    return [(first, second) for first, second in pairs]


class _Resolving:
    """One run of mip. It is mip's transport, too, of which mip asks one thing: what a file's hash is."""

    def __init__(self, index: str, downloads: Downloads, what: str):
        self._index = index
        self._downloads = downloads
        self._what = what
        self._found: dict[str, File] = {}
        self._packages: list[tuple[str, list[str], list[File]]] = []  # name, version (one, once known), files
        self._at_work: list[int] = []  # numbers in _packages, each needed by the one before it
        self._seen: dict[tuple[str, str], int] = {}
        self._mip = _own_mip()
        self._install = self._mip._install_package
        self._mip._install_package = self._package
        self._mip._download_file = self._file
        self._mip.urllib = SimpleNamespace(request=SimpleNamespace(urlopen=self._description), error=urllib.error)

    def packages_of(self, wanted: Sequence[tuple[str, str | None]]) -> tuple[Package, ...]:
        with contextlib.redirect_stdout(io.StringIO()):
            for package, version in wanted:
                self._package(self, package, self._index, _TARGET, version, False)
        return tuple(Package(name, version[0], tuple(files)) for name, version, files in self._packages)

    def fs_hashfile(self, path: str, _algorithm: str) -> bytes:
        """As mpremote's transports have it."""
        known = self._found.get(path.removeprefix(_TARGET + "/"))
        if known is None:
            raise FileNotFoundError(path)
        return bytes.fromhex(known.sha256)

    # ------------------------------------------------------------------ what mip calls

    def _package(self, transport: Any, package: str, index: str, target: str, version: str | None, mpy: bool) -> None:
        key = (package, version or "latest")
        if key in self._seen:
            if self._seen[key] in self._at_work:
                way = [self._packages[number][0] for number in self._at_work]
                raise LibraryError(f"{self._what}: {' needs '.join([*way, package])}, in a circle", _AUTHOR)
            return
        if len(self._packages) == MAX_PACKAGES:
            raise LibraryError(f"{self._what} needs more than {MAX_PACKAGES} packages", "Require less")
        self._seen[key] = len(self._packages)
        self._at_work.append(len(self._packages))
        self._packages.append((package, [version or ""], []))
        self._install(transport, package, index, target, version, mpy)
        self._at_work.pop()

    def _description(self, url: str) -> io.BytesIO:
        found = described(data := self._downloads.get(url, self._name), f"{self._name}: {url}")
        stated = found.get("version")
        if isinstance(stated, str) and stated:
            self._packages[self._at_work[-1]][1][0] = stated[:64]
        return io.BytesIO(data)

    def _file(self, _transport: Any, url: str, dest: str) -> None:
        path = dest.removeprefix(_TARGET + "/")
        try:
            check_path(path)
        except ValueError as error:
            raise LibraryError(f"{self._name}: {error}", _AUTHOR) from error
        if path.endswith(".mpy"):
            raise LibraryError(
                f"{self._name}: {path} is compiled, for one version of MicroPython and one kind of core",
                "Require a package that has its source; images are compiled here",
            )
        data = self._downloads.get(url, self._name)
        file = File(path, hashlib.sha256(data).hexdigest(), len(data), url)
        if url.startswith(f"{self._index}/file/") and not file.sha256.startswith(url.rpartition("/")[2]):
            raise LibraryError(f"{self._name}: {url} is not what its name, a hash, says", "Check the index")
        known = self._found.get(path)
        if known is not None and known.sha256 != file.sha256:
            raise LibraryError(
                f"{self._what}: {self._name} and {self._owner(known)} both have {path}, and not the same one",
                "Require versions that fit each other",
            )
        if known is None:
            self._found[path] = file
            self._packages[self._at_work[-1]][2].append(file)
        if len(self._found) > MAX_FILES or sum(one.size for one in self._found.values()) > MAX_TOTAL:
            raise LibraryError(f"{self._what} has more than {MAX_FILES} files or {MAX_TOTAL} bytes", "Require less")

    @property
    def _name(self) -> str:
        """The package at work."""
        return self._packages[self._at_work[-1]][0]

    def _owner(self, file: File) -> str:
        return next(name for name, _, files in self._packages if file in files)


def _own_mip() -> Any:
    spec = importlib.util.find_spec("mpremote.mip")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
