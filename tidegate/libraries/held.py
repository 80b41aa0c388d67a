"""The libraries that a project holds: its lock made, its cache filled, and the files that go into its images."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from tidegate.files import new_folder, read_limited, write_atomic
from tidegate.libraries import lockfile, modules
from tidegate.libraries.downloads import Downloads
from tidegate.libraries.lockfile import LOCK, MAX_FILE, Entry, LibraryError
from tidegate.libraries.requirement import Requirement
from tidegate.libraries.resolve import INDEX, described, resolve
from tidegate.sources import Sources

PACKAGE = "package.json"
LOCK_IT = "Run `tidegate lock`"
_MAX_LOCAL = 1000  # files looked at in a folder

Tell = Callable[[int, int, str], None]


def _silent(done: int, total: int, what: str) -> None: ...


def lock(sources: Sources, index: str | None = None, update: bool = False, tell: Tell = _silent) -> bool:
    """Pin what `sources` requires in its lock, and fill the cache; whether the lock is another one than before.

    Lines that are pinned already stay as they are, unless `update`. index: in place of the project's.
    """
    path = sources.folder / LOCK
    before = None if update else lockfile.read(path)
    required = _looked_up(sources)
    known = {entry.require: entry for entry in before or ()}
    where = (index or sources.index or INDEX).rstrip("/")
    entries: list[Entry] = []
    plain = [where, *(entry.index for entry in known.values()), *(one.package for one, _ in required)]
    with Downloads(plain, lambda url: tell(len(entries), len(required), url)) as downloads:
        for one, needs in required:
            entry = known.get(one.text)
            if entry is None or entry.needs != needs:
                itself = ((one.package, one.version),)
                found = resolve(needs if one.kind == "folder" else itself, where, downloads, one.text)
                entry = Entry(one.text, where, needs, found)
            entries.append(entry)
        lockfile.check_bounds(entries)
        modules.check(_brought(sources, entries), modules.own_names(sources.library))
        for entry in entries:
            _fetch(sources, entry, downloads)
    text = lockfile.encode(entries)
    changed = (path.read_bytes() if path.exists() else None) != text
    if changed and (entries or path.exists()):
        write_atomic(path, text)
        return True
    return False


def fitting(sources: Sources) -> tuple[Entry, ...]:
    """What the lock of `sources` pins; LibraryError where that is not what the project requires."""
    found = lockfile.read(sources.folder / LOCK) or ()
    required = _looked_up(sources)
    pinned = {entry.require: entry for entry in found}
    for one, needs in required:
        if one.text not in pinned:
            near = next((entry.require for entry in found if Requirement.read(entry.require).name == one.name), None)
            has = f"has {near}" if near else "does not have it"
            raise LibraryError(f"{one.text} is required, and {LOCK} {has}", f"{LOCK_IT}, and commit {LOCK}")
        if pinned[one.text].needs != needs:
            raise LibraryError(f"{one.text} depends on other packages than {LOCK} says", f"{LOCK_IT}")
    for name in pinned:
        if name not in [one.text for one, _ in required]:
            raise LibraryError(f"{LOCK} has {name}, which is not required any more", f"{LOCK_IT}, and commit {LOCK}")
    return found


def ready(sources: Sources, tell: Tell = _silent) -> None:
    """Fetch what the lock pins and the cache lacks; what is fetched must be what was pinned."""
    entries = fitting(sources)
    missing = [entry for entry in entries if entry.files and not _place(sources, entry).is_dir()]
    if missing:
        plain = [*(entry.index for entry in entries), *(one.package for one in _required(sources))]
        with Downloads(plain, lambda url: tell(0, len(missing), url)) as downloads:
            for entry in missing:
                _fetch(sources, entry, downloads)


def files(sources: Sources) -> list[tuple[str, Path]]:
    """Name below /lib and path of every file of the libraries, once each. What `ready` fetched is read, no network."""
    entries = fitting(sources)
    modules.check(_brought(sources, entries), modules.own_names(sources.library))
    found: dict[str, Path] = {}
    for entry in entries:
        place = _place(sources, entry)
        for file in entry.files:
            path = place / file.path
            if not path.is_file():
                raise LibraryError(f"{entry.require} is not in the cache ({path})", LOCK_IT)
            if hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
                raise LibraryError(
                    f"{entry.require}: {path} is not the file that {LOCK} pins",
                    f"Remove {place}, and it is fetched again; what you change yourself goes into a ./folder",
                )
            found.setdefault(file.path, path)
    for one in _required(sources):
        if one.kind == "folder":
            found.update(_local(sources.folder, one))
    return sorted(found.items())


def local_folders(requires: Sequence[str]) -> list[str]:
    """The folders of the project itself among what it requires."""
    found = [Requirement.read(text) for text in requires]
    return [one.package.removeprefix("./") for one in found if one.kind == "folder"]


def _required(sources: Sources) -> list[Requirement]:
    return [Requirement.read(text) for text in sources.requires]


def _looked_up(sources: Sources) -> list[tuple[Requirement, tuple[tuple[str, str], ...]]]:
    """What has to be found elsewhere, and so is pinned: all but folders that depend on nothing; with their needs."""
    found = [(one, _needs(sources.folder, one)) for one in _required(sources)]
    return [(one, needs) for one, needs in found if one.kind != "folder" or needs]


def _needs(folder: Path, one: Requirement) -> tuple[tuple[str, str], ...]:
    """What the package.json of a folder of the project depends on."""
    if one.kind != "folder":
        return ()
    return tuple((name, version) for name, version in _description(folder / one.package, one).get("deps", ()))


def _description(folder: Path, one: Requirement) -> dict[str, list[tuple[str, str]]]:
    if not folder.is_dir():
        raise LibraryError(f"{one.text} is required, and there is no folder {folder}", "Correct it in tidegate.toml")
    path = folder / PACKAGE
    return described(read_limited(path, MAX_FILE, "package"), str(path)) if path.exists() else {}


def _local(project: Path, one: Requirement) -> dict[str, Path]:
    """The files of a folder of the project: those that its package.json names, else all that are in it."""
    folder = project / one.package
    named = _description(folder, one)
    if not named:
        return _all_in(folder, one)
    if named.get("hashes"):
        raise LibraryError(f"{folder / PACKAGE}: hashes are an index's", "Name its files in urls")
    found = {}
    for target, url in named.get("urls", ()):
        path = folder / url
        if ":" in url or not path.resolve().is_relative_to(project.resolve()):
            raise LibraryError(f"{folder / PACKAGE}: {url} is not in the project", "Put what is elsewhere into deps")
        if not path.is_file():
            raise LibraryError(f"{folder / PACKAGE}: there is no {path}", "Correct it")
        found[target] = path
    return found


def _all_in(folder: Path, one: Requirement) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in parts):
            found["/".join(parts)] = path
            if len(found) > _MAX_LOCAL:
                raise LibraryError(f"{one.text} has more than {_MAX_LOCAL} files", "Name a folder of a library")
    return found


def _brought(sources: Sources, entries: Sequence[Entry]) -> list[modules.Brought]:
    found = [modules.Brought(entry.require, file.path, file.sha256) for entry in entries for file in entry.files]
    for one in _required(sources):
        if one.kind == "folder":
            for name, path in _local(sources.folder, one).items():
                digest = hashlib.sha256(read_limited(path, MAX_FILE, "library's file")).hexdigest()
                found.append(modules.Brought(one.text, name, digest))
    return found


def _place(sources: Sources, entry: Entry) -> Path:
    """Its folder in the cache: named for the library, and for what exactly it consists of."""
    whole = hashlib.sha256("\n".join(f"{file.path} {file.sha256}" for file in entry.files).encode())
    name = re.sub(r"[^\w.-]+", "-", entry.require).strip("-.")[:60]
    return sources.cache / f"{name}-{whole.hexdigest()[:12]}"


def _fetch(sources: Sources, entry: Entry, downloads: Downloads) -> None:
    """Its folder in the cache, which appears whole or not at all."""
    place = _place(sources, entry)
    if place.is_dir() or not entry.files:
        return
    with new_folder(place) as scratch:
        for file in entry.files:
            data = downloads.get(file.url, entry.require)
            if hashlib.sha256(data).hexdigest() != file.sha256:
                raise LibraryError(
                    f"{entry.require}: {file.url} is not the file that {LOCK} pins: one of the two was changed",
                    f"See what git says of {LOCK}, or ask the library's author; "
                    "`tidegate lock --update` takes what is there now",
                )
            (scratch / file.path).parent.mkdir(parents=True, exist_ok=True)
            write_atomic(scratch / file.path, data)
