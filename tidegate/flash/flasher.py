"""Puts Tidegate on a board over its serial port, or into a Linux gateway's folder: loader, settings, image.

Every byte is compared by its SHA-256 as the board reads it back; what is there already is not written again, and what
has arrived before a cable was pulled is not sent again: running the command once more continues. At every instant the
board boots what it booted before or what is asked for: files are replaced whole; the loader is staged whole before
the old one goes, and main.py, which comes first, can finish that by itself; the image goes into the slot that does not
run, and the boot record is switched last. What the loader is told (boot.json) comes after that, so that it never looks
for an image where none is yet.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

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
    """What was done. `written` and `kept` are paths on the board; `slots` is boot.flash.status there."""

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
    """The session with what is at `port`, a serial port or unix:FOLDER; to be used as a context manager."""
    if not port.startswith(folder_session.PREFIX):
        return Session(port, request.board.root)
    program = request.root / str(request.board.settings.get("firmware", {}).get("file", ""))
    start = request.root / "boards" / request.board.name / "start.py"
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
    """Compare the board with `request` without changing it; what differs, a line each. It starts anew afterwards."""
    with open_session(port, request) as session:
        wrong = _Work(session, request, lambda what, done, total: None).verify()
        session.restart()
    return wrong


class _Work:
    """One board's flashing, or its comparison."""

    def __init__(self, session: AnySession, request: Request, progress: Progress):
        self._session = session
        self._progress = progress
        self._board = request.board
        found = recognise(session, request.board)
        check(found, request.board, request.root)
        session.watched(request.board.watchdog_ms)
        self._found = found
        self._request = request.for_board(found)
        self._settings = self._request.settings()
        self._before = _told(session)
        self._told = loader_files.told(self._before, request.slots, request.verify, request.board)
        self._files, self._loader, self._packed = self._wanted()
        self._outcome = Outcome(session.port, found.machine, found.unique_id, found.micropython)

    def _wanted(self) -> tuple[dict[str, bytes], dict[str, bytes], bytes | None]:
        """(files of their own, those of the loader, its image where it has a range): main.py is the first of all."""
        loader = dict(self._request.loader(self._told["verify"] == "signature"))
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
        if self._told["verify"] != self._before.get("verify") == "signature":
            # The libraries that verify signatures go with the loader: it must not look for them any more.
            session.put(loader_files.OPTIONS, loader_files.encode({**self._before, "verify": self._told["verify"]}))
        self._put_loader()
        session.run(loader_image.reach(self._board))
        if not (self._request.slots or self._before.get("slots")):
            self._told["slots"] = self._own_slots()
        if self._request.release:
            self._put_image(self._request.release)
        outcome.slots = self._status()
        _check_bootable(outcome)
        if self._before or self._request.slots or self._request.verify:
            outcome.note(loader_files.OPTIONS, session.put(loader_files.OPTIONS, loader_files.encode(self._told)))
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
        if not claimed or self._told["verify"] == "signature":  # else the server gives it, checked by the claim
            needed["/tg/trust.cbor"] = "--trust"
        for path, option in needed.items():
            if path not in files and self._session.digest(path) is None:
                raise BoardError(f"the board has no {path} yet", f"Give it one with {option} FILE")
        config = files.get("/tg/config.json")
        lacks = config and loader_files.wants_tls(config) and loader_files.AUTHORITIES not in files
        if lacks and self._session.digest(loader_files.AUTHORITIES) is None:
            raise BoardError("the settings ask for TLS, and the board trusts nobody yet", "Name whom with --ca FILE")
        if self._request.release is None and not loader_image.is_there(self._session, self._board):
            raise BoardError("the board has no image yet", "Give it one with --release DIR")

    def _check_room(self) -> None:
        """Before anything is written: for all that is not there yet."""
        release = self._request.release
        payload = release.payload(_target(release, self._board).digest) if release else None
        if release:
            self._manifest(release)
        wanted = free_space.Wanted(self._files, self._loader, self._packed, payload, self._told["slots"] == "file")
        free = self._session.free()
        if free >= wanted.most(self._session):
            return
        running = payload is not None and self._runs(payload)
        free_space.check(self._session, wanted, free, running)

    def _runs(self, payload: bytes) -> bool:
        """Whether the board runs this image now; what the loader that is there imports is forgotten again."""
        found: dict[str, Any] | None = None
        if loader_image.is_there(self._session, self._board):
            with contextlib.suppress(BoardError):  # of a version that knows no status
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
        looked = self._session.digests(self._loader)
        if all(looked[path][0] == hashlib.sha256(data).hexdigest() for path, data in self._loader.items()):
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
        if self._told["slots"] == "file":
            free_space.check_memory(self._found, self._board, len(data))
            free_space.check_slots(session, data, again=slots is None)
        session.put(STAGED, data, partial(self._progress, f"image {release.version}"))
        session.put(STAGED_MANIFEST, manifest)
        session.run(
            "import os\n"
            "from boot import board, flash, options\n"
            f"flash.install(board.Board(), {session.at(STAGED)!r}, bytes.fromhex({target.digest!r}), "
            f"{release.sequence}, {session.at(STAGED_MANIFEST)!r}, {self._options()}, "
            "globals().get('_tg_feed', lambda: None))\n",
            timeout=120,
        )
        self._outcome.note(f"image {release.version}", True)

    def _manifest(self, release: Release) -> bytes:
        """The signed manifest, kept beside the slot; b"" for a release that is not signed and need not be."""
        try:
            return release.envelope(self._board.name)
        except TidegateError:
            if self._told["verify"] == "signature":
                raise
            return b""

    def _own_slots(self) -> str:
        """Where this very board keeps images: its MicroPython may lack a ROM segment that others of its kind have."""
        answer = self._session.run("from boot import board\nprint(repr(board.Board().slots))")
        return str(self._session.parse(answer))

    def _options(self) -> str:
        """As the loader's options.Options, an expression for the board."""
        return f"options.Options({self._told['slots']!r}, {self._told['verify']!r})"

    def _status(self) -> dict[str, Any] | None:
        code = f"from boot import board, flash, options\nprint(repr(flash.status(board.Board(), {self._options()})))"
        found: dict[str, Any] | None = self._session.parse(self._session.run(code, 60))
        return found

    # -------------------------------------------------------------- comparing

    def verify(self) -> list[str]:
        session = self._session
        wanted = {**self._files, **self._loader}
        if self._before or self._request.slots or self._request.verify:
            wanted[loader_files.OPTIONS] = loader_files.encode(self._told)
        wrong = []
        for path, (digest, _size) in session.digests(wanted).items():
            if digest != hashlib.sha256(wanted[path]).hexdigest():
                wrong.append(f"{path} is missing" if digest is None else f"{path} differs")
        wrong += [f"{path} is not the loader's" for path in session.list(loader_files.BOOT) if path not in wanted]
        if not loader_image.is_there(session, self._board):
            return [*wrong, "there is no loader"]
        packed = self._packed
        if packed and loader_image.digest(session, self._board, len(packed)) != hashlib.sha256(packed).hexdigest():
            wrong.append("the loader differs")
        session.run(loader_image.reach(self._board))
        release = self._request.release
        if release:
            if not (self._request.slots or self._before.get("slots")):
                self._told["slots"] = self._own_slots()
            slots = self._status()
            running = slots["slots"][slots["running"]] if slots else None
            digest = _target(release, self._board).digest
            if not running or running["digest"] != digest or not running["whole"]:
                wrong.append(f"the running slot does not hold {release.version}")
        return wrong


def _told(session: AnySession) -> dict[str, Any]:
    """What the loader is told now; {} if nothing that it could understand."""
    data = session.read(loader_files.OPTIONS, loader_files.MAX_JSON)
    try:
        found = json.loads(data) if data else {}
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
    """What this flashing, or one before it that did not end, has staged."""
    ours = {STAGED, STAGED_MANIFEST, loader_image.STAGED, *files}
    ours = {STAGED, STAGED_MANIFEST, loader_image.STAGED} | {f"{path}.new" for path in ours}
    for path in session.list("/tg"):
        if path in ours:
            session.remove(path)
    for path in (f"{loader_files.MAIN}.new", loader_files.STAGE):
        session.drop(path)


def _tidy(session: AnySession) -> None:
    """After Ctrl-C: nothing that is half there stays. A whole loader does, should the old one be gone already."""
    with contextlib.suppress(BoardError, OSError):
        session.interrupt()
        for path in session.list("/tg"):
            if path.endswith(".new") or path in (STAGED, STAGED_MANIFEST):
                session.remove(path)
        for path in (f"{loader_files.MAIN}.new", loader_files.STAGE):
            session.drop(path)
