"""Puts Tidegate on a board over its serial port, or into a Linux gateway's folder: loader, settings, image.

Every file is compared by its SHA-256 as the board reads it back. What the board has already is not written again, nor
sent again after a cable was pulled: running the command once more continues. At every moment the board boots what it
booted before or what it is flashed with: files are replaced whole; the loader is staged whole before the old one is
removed, and main.py, which is written first, can finish that by itself; the image goes into the slot that does not
run, and the boot record is switched last. The loader's options (boot.json) come after that, so that it never looks
for an image where there is none yet.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tidegate import json_text
from tidegate.boards import Board
from tidegate.errors import TidegateError
from tidegate.flash import folder_session, free_space, loader_files, loader_image
from tidegate.flash.folder_session import FolderSession
from tidegate.flash.identify import check, recognise
from tidegate.flash.request import Request
from tidegate.flash.serial_session import BoardError, Session
from tidegate.release import Release, Target

STAGED = "/tg/flash.img"
STAGED_MANIFEST = "/tg/flash.suit"

Progress = Callable[[str, int, int], None]  # what, done, total
AnySession = Session | FolderSession


@dataclass
class Outcome:
    """What was done. `written`, `kept` (unchanged) and `removed` are paths on the board; `slots` is its status."""

    port: str
    machine: str
    unique_id: str
    micropython: str
    written: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    slots: dict[str, Any] | None = None

    def note(self, what: str, wrote: bool) -> None:
        (self.written if wrote else self.kept).append(what)


def open_session(port: str, request: Request) -> AnySession:
    """A session with the board at `port`, a serial port or unix:FOLDER; use it as a context manager."""
    if not port.startswith(folder_session.PREFIX):
        return Session(port, request.board.root)
    program = request.sources.library / str(request.board.settings.get("firmware", {}).get("file", ""))
    start = request.board.folder / "start.py"
    if not start.is_file():
        raise BoardError(
            f"{port} is a folder for a Linux gateway, and {request.board.name} does not run in one",
            "Name the board's serial port, or give --board unix",
        )
    return FolderSession(port, Path(os.environ.get("TIDEGATE_UNIX_MICROPYTHON", program)), start)


def flash(port: str, request: Request, progress: Progress = lambda what, done, total: None) -> Outcome:
    """Flash the board at `port` and reset it. Raises TidegateError; then the board boots what it booted before."""
    with open_session(port, request) as session:
        try:
            return _Work(session, request, progress).flash()
        except KeyboardInterrupt:
            _tidy(session)
            raise


def verify(port: str, request: Request) -> list[str]:
    """Compare the board with `request` without changing it; returns a line for each difference. The board restarts."""
    with open_session(port, request) as session:
        differences = _Work(session, request, lambda what, done, total: None).verify()
        session.restart()
    return differences


class _Work:
    """Flashing or comparing one board."""

    def __init__(self, session: AnySession, request: Request, progress: Progress):
        self._session = session
        self._progress = progress
        self._board = request.board
        found = recognise(session)
        check(found, request.board, request.sources)
        session.feed_watchdog(request.board.watchdog_ms)
        self._found = found
        self._request = request.for_board(found)
        self._settings = self._request.settings()
        self._previous = _read_options(session)
        self._options = loader_files.choose_options(self._previous, request.slots, request.verify, request.board)
        self._files, self._loader, self._packed = self._contents()
        self._outcome = Outcome(session.port, found.machine, found.unique_id, found.micropython)

    def _contents(self) -> tuple[dict[str, bytes], dict[str, bytes], bytes | None]:
        """(files of the file system, main.py first; the loader's files; its image, where it has a ROM range)."""
        loader = dict(self._request.loader(self._options["verify"] == "signature"))
        main = {loader_files.MAIN: loader.pop(loader_files.MAIN)}
        loader, packed = loader_image.split(loader, self._board)
        return {**main, **self._settings}, loader, packed

    # -------------------------------------------------------------- flashing

    def flash(self) -> Outcome:
        session, outcome = self._session, self._outcome
        self._check_complete()
        self._check_room()
        if self._request.wipe:
            self._remove(session.list("/tg/state"))
        for path, data in self._files.items():
            outcome.note(path, session.put(path, data, partial(self._progress, path)))
        if self._options["verify"] != self._previous.get("verify") == "signature":
            # The libraries that verify signatures go with the loader: it must not look for them any more.
            session.put(
                loader_files.OPTIONS, loader_files.encode({**self._previous, "verify": self._options["verify"]})
            )
        self._put_loader()
        session.run(loader_image.reach(self._board))
        if not (self._request.slots or self._previous.get("slots")):
            self._options["slots"] = self._own_slots()
        if self._request.release:
            self._put_image(self._request.release)
        outcome.slots = self._status()
        _check_bootable(outcome)
        if self._previous or self._request.slots or self._request.verify:
            outcome.note(loader_files.OPTIONS, session.put(loader_files.OPTIONS, loader_files.encode(self._options)))
        if outcome.written and (self._request.ca or session.digest(loader_files.AUTHORITIES)):
            # A board without a clock knows from this that certificates that ended before have ended.
            session.put(loader_files.TIME, str(int(time.time())).encode())
            outcome.written.append(loader_files.TIME)
        _remove_leftovers(session, self._files)
        session.reset()
        return outcome

    def _check_complete(self) -> None:
        """A first flashing needs everything; a later one may leave out what the board has."""
        files = self._files
        needed = {"/tg/config.json": "--config"}
        claimed = loader_files.CLAIM in files or self._session.digest(loader_files.CLAIM) is not None
        if not claimed:
            needed["/tg/credentials.json"] = "--credentials FILE, or a claim with --claim"
        if not claimed or self._options["verify"] == "signature":  # else the server gives it, checked by the claim
            needed["/tg/trust.cbor"] = "--trust"
        for path, option in needed.items():
            if path not in files and self._session.digest(path) is None:
                raise BoardError(f"the board has no {path} yet", f"Give it one with {option} FILE")
        config = files.get("/tg/config.json")
        lacks = config and loader_files.wants_tls(config) and loader_files.AUTHORITIES not in files
        if lacks and self._session.digest(loader_files.AUTHORITIES) is None:
            raise BoardError(
                "the settings ask for TLS, and the board trusts no authority yet", "Name its certificate with --ca FILE"
            )
        if self._request.release is None and not loader_image.is_there(self._session, self._board):
            raise BoardError("the board has no image yet", "Give it one with --release DIR")

    def _check_room(self) -> None:
        """Refuse what does not fit, before anything is written."""
        release = self._request.release
        payload = release.payload(_target(release, self._board).digest) if release else None
        if release:
            self._manifest(release)
            if self._options["slots"] == "file":
                free_space.check_memory(self._found, self._board)
        needed = free_space.Contents(self._files, self._loader, self._packed, payload, self._options["slots"] == "file")
        free = self._session.free()
        if free >= needed.bytes_needed(self._session):
            return
        running = payload is not None and self._runs(payload)
        free_space.check(self._session, needed, free, running)

    def _runs(self, payload: bytes) -> bool:
        """Whether the board runs this image now; the modules of its present loader are unloaded again."""
        found: dict[str, Any] | None = None
        if loader_image.is_there(self._session, self._board):
            with contextlib.suppress(BoardError):  # an older loader, without status()
                self._session.run(loader_image.reach(self._board))
                found = self._status()
            self._session.fresh()
        running = found["slots"][found["running"]] if found else None
        return bool(running and running["whole"] and running["digest"] == hashlib.sha256(payload).hexdigest())

    def _put_loader(self) -> None:
        if self._packed:
            tell = partial(self._progress, "loader")
            self._outcome.note("loader", loader_image.install(self._session, self._board, self._packed, tell))
            # An old boot/x.py would be imported instead of our boot/x.mpy; /boot is the loader's alone.
            self._remove(self._session.list(loader_files.BOOT))
            return
        there = self._session.list(loader_files.BOOT)
        present = self._session.digests(self._loader)
        if all(present[path][0] == hashlib.sha256(data).hexdigest() for path, data in self._loader.items()):
            self._outcome.note("loader", False)
        else:
            loader_image.replace(self._session, self._loader, self._progress)
            self._outcome.note("loader", True)
            there = self._session.list(loader_files.BOOT)
        self._remove([path for path in there if path not in self._loader])

    def _remove(self, paths: list[str]) -> None:
        for path in paths:
            self._session.remove(path)
            self._outcome.removed.append(path)

    # -------------------------------------------------------------- the image

    def _put_image(self, release: Release) -> None:
        session = self._session
        target = _target(release, self._board)
        manifest = self._manifest(release)
        slots = self._status()
        if slots and not slots["trial"]:
            running = slots["slots"][slots["running"]]
            if running["whole"] and running["digest"] == target.digest and slots["floor"] == release.sequence:
                self._outcome.note(f"image {release.version}", False)
                return
        data = release.payload(target.digest)
        if self._options["slots"] == "file":
            free_space.check_memory(self._found, self._board)
            free_space.check_slots(session, data, again=slots is None)
        session.put(STAGED, data, partial(self._progress, f"image {release.version}"))
        session.put(STAGED_MANIFEST, manifest)
        session.run(
            "import os\n"
            "from boot import board, flash, options\n"
            f"flash.install(board.Board(), {session.at(STAGED)!r}, bytes.fromhex({target.digest!r}), "
            f"{release.sequence}, {session.at(STAGED_MANIFEST)!r}, {self._options_expression()}, "
            "globals().get('_tg_step', lambda: None))\n",
            timeout=120,
        )
        self._outcome.note(f"image {release.version}", True)

    def _manifest(self, release: Release) -> bytes:
        """The signed manifest, stored beside the slot; b"" if the release is unsigned and the board takes it so."""
        try:
            return release.envelope(self._board.name)
        except TidegateError:
            if self._options["verify"] == "signature":
                raise
            return b""

    def _own_slots(self) -> str:
        """Where this board stores images: its MicroPython may lack a ROM segment that others of its kind have."""
        answer = self._session.run("from boot import board\nprint(repr(board.Board().slots))")
        return str(self._session.parse(answer))

    def _options_expression(self) -> str:
        """The loader's options.Options as an expression for the board."""
        return f"options.Options({self._options['slots']!r}, {self._options['verify']!r})"

    def _status(self) -> dict[str, Any] | None:
        status = f"flash.status(board.Board(), {self._options_expression()})"
        code = f"from boot import board, flash, options\nprint(repr({status}))"
        found: dict[str, Any] | None = self._session.parse(self._session.run(code, 60))
        return found

    # -------------------------------------------------------------- comparing

    def verify(self) -> list[str]:
        session = self._session
        expected = {**self._files, **self._loader}
        if self._previous or self._request.slots or self._request.verify:
            expected[loader_files.OPTIONS] = loader_files.encode(self._options)
        wrong = []
        for path, (digest, _size) in session.digests(expected).items():
            if digest != hashlib.sha256(expected[path]).hexdigest():
                wrong.append(f"{path} is missing" if digest is None else f"{path} differs")
        wrong += [f"{path} is not the loader's" for path in session.list(loader_files.BOOT) if path not in expected]
        if not loader_image.is_there(session, self._board):
            return [*wrong, "the board has no loader"]
        packed = self._packed
        if packed and loader_image.digest(session, self._board, len(packed)) != hashlib.sha256(packed).hexdigest():
            wrong.append("the loader differs")
        session.run(loader_image.reach(self._board))
        release = self._request.release
        if release:
            if not (self._request.slots or self._previous.get("slots")):
                self._options["slots"] = self._own_slots()
            slots = self._status()
            running = slots["slots"][slots["running"]] if slots else None
            digest = _target(release, self._board).digest
            if not running or running["digest"] != digest or not running["whole"]:
                wrong.append(f"the running slot does not hold {release.version}")
        return wrong


def _read_options(session: AnySession) -> dict[str, Any]:
    """The loader's options on the board now; {} if there are none that it could read."""
    data = session.read(loader_files.OPTIONS, loader_files.MAX_JSON)
    try:
        found = json_text.loads(data) if data else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _target(release: Release, board: Board) -> Target:
    target = release.targets.get(board.name)
    if target is None:
        raise TidegateError(
            f"release {release.version} has no image for {board.name}, only for {', '.join(release.targets)}",
            f"Build it with --board {board.name}",
        )
    return target


def _check_bootable(outcome: Outcome) -> None:
    slots = outcome.slots
    running = slots["slots"][slots["running"]] if slots else {"whole": False, "why": "nothing was ever installed"}
    if not running["whole"]:
        raise BoardError(f"the board has no slot that boots: {running['why']}", "Flash an image with --release DIR")


def _remove_leftovers(session: AnySession, files: dict[str, bytes]) -> None:
    """Remove what this flashing, or an earlier one that was cut off, has staged."""
    staged = {STAGED, STAGED_MANIFEST, loader_image.STAGED}
    staged |= {f"{path}.new" for path in (*staged, *files)}
    for path in session.list("/tg"):
        if path in staged:
            session.remove(path)
    for path in (f"{loader_files.MAIN}.new", loader_files.STAGE):
        session.drop(path)


def _tidy(session: AnySession) -> None:
    """After Ctrl-C: remove incomplete files. A whole new loader stays, since the old one may be gone already."""
    with contextlib.suppress(BoardError, OSError):
        session.interrupt()
        for path in session.list("/tg"):
            if path.endswith(".new") or path in (STAGED, STAGED_MANIFEST):
                session.remove(path)
        for path in (f"{loader_files.MAIN}.new", loader_files.STAGE):
            session.drop(path)
