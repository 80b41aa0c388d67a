"""Builds a release again from its sources and compares the two, byte for byte."""

from __future__ import annotations

import contextlib
import io
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tidegate import delta
from tidegate.errors import Refused, TidegateError
from tidegate.image import Identity, Progress, build_image, romfs
from tidegate.release import provenance
from tidegate.release.folder import INDEX, Release, Target, is_named
from tidegate.sources import Sources

Note = Callable[[str], None]
_MAX_SIBLINGS = 1000


def reproduce_release(
    release: Release,
    sources: Sources,
    *,
    as_it_is: bool = False,
    previous: Sequence[Release] = (),
    progress: Progress | None = None,
    note: Note = lambda text: None,
) -> dict[str, Any]:
    """Build every image and patch of `release` again; Refused("differs") names the first file that differs.

    Sources are those of the commit that release.json names, taken from its repository; with `as_it_is`, or where no
    commit is named, the files as they are. Images to start from are looked for in `previous` and in
    the folders beside the release's. Returns {"commit", "sources": "commit" | "folder", "boards": {board: {"image":
    True, "patches": {base digest: whether it was compared}}}}.
    """
    bases = _Bases(release, previous)
    commit = None if as_it_is or release.origin is None else release.origin.commit
    with _at(sources, commit) as found:
        if commit is None:
            note(f"building from {sources.folder} as it is")
        else:
            note(f"building from commit {commit}")
        _warn_of_tools(release, sources, note)
        checked = {}
        for name, target in sorted(release.targets.items()):
            checked[name] = _check(release, target, found, bases, progress, note)
    return {"commit": commit, "sources": "folder" if commit is None else "commit", "boards": checked}


def _check(
    release: Release,
    target: Target,
    sources: Sources,
    bases: _Bases,
    progress: Progress | None,
    note: Note,
) -> dict[str, Any]:
    board = sources.board(target.board)
    identity = Identity(release.product, release.version, release.built_as, board.name)
    if target.sources is not None and provenance.digest(sources, board) != target.sources:
        note(f"{board.name}: the sources are not those of the release")
    predecessor = None if target.predecessor is None else bases.image(target.predecessor)
    if target.predecessor is not None and predecessor is None:
        raise TidegateError(
            f"{board.name}: the image keeps the numbers of an earlier one, {target.predecessor}, which is not here",
            "Name its release with --previous",
        )
    expected = release.payload(target.digest)
    built = build_image(sources, board, identity, progress, predecessor)
    if built != expected:
        _refuse(release, sources, board.name, expected, built)
    note(f"{board.name}: the image is the same, {len(built)} bytes, {target.digest}")
    patches = {}
    for patch in target.patches:
        base = bases.image(patch.base)
        if base is None:
            note(
                f"{board.name}: the patch from {patch.base_version} was not compared: name that release with --previous"
            )
        elif delta.make(base, expected) != release.payload(patch.digest):
            raise Refused(
                "differs", f"{board.name}: the patch from {patch.base_version} differs", _remedy(release, sources)
            )
        else:
            note(f"{board.name}: the patch from {patch.base_version} is the same, {patch.size} bytes")
        patches[patch.base] = base is not None
    return {"image": True, "patches": patches}


def _refuse(release: Release, sources: Sources, board: str, expected: bytes, built: bytes) -> None:
    """Raise Refused, which names the first file that differs."""
    there, here = romfs.files(expected), romfs.files(built)
    for name in sorted({*there, *here}):
        if name not in here:
            what = f"{name} is in the release, but the sources do not make it"
        elif name not in there:
            what = f"{name} is missing in the release"
        elif there[name] != here[name]:
            pairs = enumerate(zip(there[name], here[name], strict=False))
            at = next((n for n, (a, b) in pairs if a != b), min(len(there[name]), len(here[name])))
            what = f"{name} differs from byte {at} on ({len(there[name])} bytes there, {len(here[name])} here)"
        else:
            continue
        raise Refused("differs", f"{board}: {what}", _remedy(release, sources))
    raise Refused(
        "differs", f"{board}: all files are the same, the images around them are not", _remedy(release, sources)
    )


def _remedy(release: Release, sources: Sources) -> str:
    other = _other_tools(release, sources)
    if other:
        return f"It was built with other tools: {other}"
    return "Is this the source of the release? Machine code is from build/native, made by tools/native.py"


def _other_tools(release: Release, sources: Sources) -> str:
    known = release.origin.tools if release.origin else {}
    here = provenance.tools(sources)
    return ", ".join(
        f"{name} {version}, not {here.get(name)}" for name, version in known.items() if here.get(name) != version
    )


def _warn_of_tools(release: Release, sources: Sources, note: Note) -> None:
    if release.origin is None:
        note("release.json does not say what it was built with; an older tidegate made it")
    elif other := _other_tools(release, sources):
        note(f"built with other tools than these: {other}")


@contextlib.contextmanager
def _at(sources: Sources, commit: str | None) -> Iterator[Sources]:
    """What to build from: `sources` as they are, or a scratch folder with those of `commit`."""
    if commit is None:
        yield sources
        return
    tracked = (
        provenance.git(sources.folder, "ls-tree", "-z", "--name-only", commit, "--", *sources.tracked) or b""
    ).split(b"\0")
    names = [name.decode(errors="replace") for name in tracked if name]
    archive = provenance.git(sources.folder, "archive", "--format=tar", commit, "--", *names) if names else None
    if archive is None:
        raise TidegateError(
            f"the repository in {sources.folder} does not have commit {commit}",
            "Fetch it, or name a folder with its files: --source",
        )
    with tempfile.TemporaryDirectory(prefix="tidegate-") as scratch:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            _unpack(tar, Path(scratch))
        native = sources.library / "build" / "native"
        if sources.is_checkout and native.is_dir():  # compiled from the sources by tools/native.py, not here
            (Path(scratch) / "build").mkdir()
            (Path(scratch) / "build" / "native").symlink_to(native.resolve())
        yield sources.moved(Path(scratch))


def _unpack(tar: tarfile.TarFile, folder: Path) -> None:
    """Unpack an archive of `git archive`; nothing of it may lead out of the folder."""
    if hasattr(tarfile, "data_filter"):
        tar.extractall(folder, filter="data")
        return
    # Python 3.11.0 to 3.11.3, such as Debian 12's, knows no filters.
    for member in tar.getmembers():
        path = Path(member.name)
        if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
            raise TidegateError(f"{member.name} in the repository is not a plain file", "Remove it from the sources")
    tar.extractall(folder)


class _Bases:
    """Images of earlier releases, by digest: of those named, and of those in the folders beside."""

    def __init__(self, release: Release, previous: Sequence[Release]):
        self._folders = [base.folder for base in previous] + [release.folder]
        with contextlib.suppress(OSError):
            beside = sorted(release.folder.resolve().parent.iterdir())
            self._folders += [path for path in beside[:_MAX_SIBLINGS] if (path / INDEX).is_file()]

    def image(self, digest: str) -> bytes | None:
        for folder in self._folders:
            path = folder / "p" / digest
            if path.is_file():
                data = path.read_bytes()
                if is_named(data, digest):
                    return data
        return None
