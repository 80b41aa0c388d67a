"""Puts Tidegate on a board over its serial port, or into a Linux gateway's folder: loader, settings, image.

Every byte is compared by its SHA-256 as the board reads it back; what is there already is not written again, so
flashing twice does nothing and a pulled cable is mended by running the command again. The image goes into the slot
that does not run, and the boot record is switched last: until then the board boots what it booted before. What the
loader is told (boot.json) comes after that, so that it never looks for an image where none is yet.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tidegate import gatewayfolder, loaderfiles, romloader
from tidegate.boards import Board
from tidegate.errors import TidegateError
from tidegate.gatewayfolder import FolderSession
from tidegate.release import Release, Target
from tidegate.serialport import BoardError, Session

MPY_VERSION = 6  # what mpy-cross 1.25 writes
STAGED = "/tg/flash.img"
STAGED_MANIFEST = "/tg/flash.suit"
SPARE = 16 * 1024  # bytes of the file system that stay free beside the staged image

Progress = Callable[[str, int, int], None]  # what, done, total
AnySession = Session | FolderSession


@dataclass
class Request:
    """What to put on the board. A file that is None must be on the board already.

    ca: authorities that TLS trusts; client: the device's own certificate and key.
    slots ("rom", "file") and verify ("digest", "signature"): what the loader is told; None leaves it as it is.
    """

    board: Board
    root: Path
    release: Release | None = None
    trust: Path | None = None
    config: Path | None = None
    credentials: Path | None = None
    ca: Path | None = None
    client: tuple[Path, Path] | None = None
    wipe: bool = False
    slots: str | None = None
    verify: str | None = None


@dataclass
class Outcome:
    """What was done. `written` and `kept` are paths on the board; `slots` is boot.flash.status there."""

    port: str
    machine: str
    unique_id: str
    micropython: str
    written: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    slots: dict[str, Any] | None = None


def flash(port: str, request: Request, progress: Progress = lambda what, done, total: None) -> Outcome:
    """Flash the board at `port` and reset it. Raises TidegateError; then the board boots what it booted before."""
    settings = _settings(request)
    with _open(port, request) as session:
        outcome = _recognise(session, request.board)
        _check_complete(session, settings, request)
        before = _told(session)
        told = loaderfiles.told(before, request.slots, request.verify, request.board)
        files, packed = _files(settings, request, told)
        if request.wipe:
            _remove(session, session.list("/tg/state"), outcome)
        if packed:
            wrote = romloader.install(session, request.board, packed, partial(progress, "loader"))
            (outcome.written if wrote else outcome.kept).append("loader")
        # An old boot/x.py would be imported instead of our boot/x.mpy; /boot is the loader's alone.
        _remove(session, [path for path in session.list("/boot") if path not in files], outcome, loaderfiles.LIBRARY)
        for path, data in files.items():
            wrote = session.put(path, data, partial(progress, path))
            (outcome.written if wrote else outcome.kept).append(path)
        session.run(romloader.reach(request.board))
        if request.release:
            _install(session, request, told, outcome, progress)
        outcome.slots = _status(session, told)
        _check_bootable(outcome)
        if before or request.slots or request.verify:
            wrote = session.put(loaderfiles.OPTIONS, loaderfiles.encode(told))
            (outcome.written if wrote else outcome.kept).append(loaderfiles.OPTIONS)
        _remove(session, [path for path in session.list(loaderfiles.LIBRARY) if path not in files], outcome)
        if outcome.written and (request.ca or session.digest(loaderfiles.AUTHORITIES)):
            # A board without a clock knows from this that certificates that ended before have ended.
            session.put(loaderfiles.TIME, str(int(time.time())).encode())
            outcome.written.append(loaderfiles.TIME)
        session.reset()
    return outcome


def verify(port: str, request: Request) -> list[str]:
    """Compare the board with `request` without changing it; what differs, a line each."""
    wrong = []
    with _open(port, request) as session:
        _recognise(session, request.board)
        before = _told(session)
        told = loaderfiles.told(before, request.slots, request.verify, request.board)
        files, packed = _files(_settings(request), request, told)
        if before or request.slots or request.verify:
            files[loaderfiles.OPTIONS] = loaderfiles.encode(told)
        for path, data in files.items():
            found = session.digest(path)
            if found != hashlib.sha256(data).hexdigest():
                wrong.append(f"{path} is missing" if found is None else f"{path} differs")
        if not romloader.is_there(session, request.board):
            return [*wrong, "there is no loader"]
        if packed and romloader.digest(session, request.board, len(packed)) != hashlib.sha256(packed).hexdigest():
            wrong.append("the loader differs")
        session.run(romloader.reach(request.board))
        slots = _status(session, told)
        if request.release:
            target = _target(request.release, request.board)
            running = slots["slots"][slots["running"]] if slots else None
            if not running or running["digest"] != target.digest or not running["whole"]:
                wrong.append(f"the running slot does not hold {request.release.version}")
    return wrong


def _settings(request: Request) -> dict[str, bytes]:
    return loaderfiles.settings(request.trust, request.config, request.credentials, request.ca, request.client)


def _open(port: str, request: Request) -> AnySession:
    if not port.startswith(gatewayfolder.PREFIX):
        return Session(port)
    program = request.root / str(request.board.settings.get("firmware", {}).get("file", ""))
    start = request.root / "boards" / request.board.name / "start.py"
    return FolderSession(port, Path(os.environ.get("TIDEGATE_UNIX_MICROPYTHON", program)), start)


def _recognise(session: AnySession, board: Board) -> Outcome:
    """Refuses a board that is not the one named, or whose MicroPython cannot run our images."""
    machine, version, mpy = session.value(
        "(lambda sys: (sys.implementation._machine, '.'.join(str(n) for n in sys.implementation.version[:3]), "
        "getattr(sys.implementation, '_mpy', 0)))(__import__('sys'))"
    )
    wanted = board.settings.get("flash", {}).get("machine", "")
    if wanted not in machine:
        raise BoardError(
            f"the board at {session.port} is a {machine!r}, not a {board.name}",
            f"Name its own board with --board; {board.name} answers as {wanted!r}",
        )
    if mpy & 0xFF != MPY_VERSION:
        raise BoardError(
            f"MicroPython {version} on the board loads .mpy version {mpy & 0xFF}, images have {MPY_VERSION}",
            "Put a MicroPython of the 1.25 line on the board first",
        )
    return Outcome(session.port, machine, session.unique_id(), version)


# ------------------------------------------------------------------ what belongs on the board


def _check_complete(session: AnySession, files: dict[str, bytes], request: Request) -> None:
    """A first flashing needs everything; a later one may leave out what the board has."""
    for name, option in (
        ("trust.cbor", "trust"),
        ("config.json", "config"),
        ("credentials.json", "credentials"),
    ):
        path = f"/tg/{name}"
        if path not in files and session.digest(path) is None:
            raise BoardError(f"the board has no {path} yet", f"Give it one with --{option} FILE")
    config = files.get("/tg/config.json")
    lacks = config and loaderfiles.wants_tls(config) and loaderfiles.AUTHORITIES not in files
    if lacks and session.digest(loaderfiles.AUTHORITIES) is None:
        raise BoardError("the settings ask for TLS, and the board trusts nobody yet", "Name whom with --ca FILE")
    if request.release is None and not romloader.is_there(session, request.board):
        raise BoardError("the board has no image yet", "Give it one with --release DIR")


def _files(settings: dict[str, bytes], request: Request, told: dict[str, str]) -> tuple[dict[str, bytes], bytes | None]:
    """(files by path, the loader's image): the loader is among the files where the board has no range for it."""
    loader = loaderfiles.loader(request.root, request.board, told["verify"] == "signature")
    plain, packed = romloader.split(loader, request.board)
    return {**settings, **plain}, packed


def _remove(session: AnySession, paths: list[str], outcome: Outcome, but: str = "\0") -> None:
    """Removes files on the board; but: a folder whose files stay."""
    for path in paths:
        if not path.startswith(but + "/"):
            session.remove(path)
            outcome.removed.append(path)


def _told(session: AnySession) -> dict[str, Any]:
    """What the loader is told now; {} if nothing that it could understand."""
    if session.digest(loaderfiles.OPTIONS) is None:
        return {}
    data: bytes = session.value(f"open({loaderfiles.OPTIONS!r}, 'rb').read({loaderfiles.MAX_JSON})")
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


# ------------------------------------------------------------------ the image


def _install(session: AnySession, request: Request, told: dict[str, str], outcome: Outcome, progress: Progress) -> None:
    release = request.release
    if release is None:
        return
    target = _target(release, request.board)
    manifest = _manifest(release, request.board, told)
    slots = _status(session, told)
    if slots and not slots["trial"]:
        running = slots["slots"][slots["running"]]
        if running["whole"] and running["digest"] == target.digest and slots["floor"] == release.sequence:
            outcome.kept.append(f"image {release.version}")
            return
    data = release.payload(target.digest)
    # A slot that is a file takes room of the same file system; a second one replaces an old one.
    wanted = len(data) * (2 if told["slots"] == "file" and slots is None else 1) + SPARE
    free = session.value("(lambda s: s[0] * s[3])(__import__('os').statvfs('/'))")
    if free < wanted:
        raise BoardError(
            f"the board's file system has {free} bytes free, installing the image takes {wanted}",
            "Remove files with `mpremote rm`, or flash with --wipe",
        )
    session.put(STAGED, data, partial(progress, f"image {release.version}"))
    session.put(STAGED_MANIFEST, manifest)
    session.run(
        "import os\n"
        "from boot import board, flash, options\n"
        f"flash.install(board.Board(), {STAGED!r}, bytes.fromhex({target.digest!r}), {release.sequence}, "
        f"{STAGED_MANIFEST!r}, {_options(told)})\n"
        f"os.remove({STAGED!r})\n"
        f"os.remove({STAGED_MANIFEST!r})",
        timeout=120,
    )
    outcome.written.append(f"image {release.version}")


def _manifest(release: Release, board: Board, told: dict[str, str]) -> bytes:
    """The signed manifest, kept beside the slot; b"" for a release that is not signed and need not be."""
    try:
        return release.envelope(board.name)
    except TidegateError:
        if told["verify"] == "signature":
            raise
        return b""


def _target(release: Release, board: Board) -> Target:
    target = release.targets.get(board.name)
    if target is None:
        raise TidegateError(
            f"release {release.version} has no image for {board.name}, only for {', '.join(release.targets)}",
            f"Build it with --board {board.name}",
        )
    return target


def _options(told: dict[str, str]) -> str:
    """As the loader's options.Options, an expression for the board."""
    return f"options.Options({told['slots']!r}, {told['verify']!r})"


def _status(session: AnySession, told: dict[str, str]) -> dict[str, Any] | None:
    answer = session.run(
        f"from boot import board, flash, options\nprint(repr(flash.status(board.Board(), {_options(told)})))", 60
    )
    return session.parse(answer)


def _check_bootable(outcome: Outcome) -> None:
    slots = outcome.slots
    running = slots["slots"][slots["running"]] if slots else {"whole": False, "why": "nothing was ever installed"}
    if not running["whole"]:
        raise BoardError(f"the board has no slot that boots: {running['why']}", "Flash an image with --release DIR")
