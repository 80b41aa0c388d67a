"""Puts Tidegate on a board over its serial port: loader, trust store, settings, image.

Every byte is compared by its SHA-256 as the board reads it back; what is there already is not written again, so
flashing twice does nothing and a pulled cable is mended by running the command again. The image goes into the slot
that does not run, and the boot record is switched last: until then the board boots what it booted before.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tidegate import image, trust
from tidegate.boards import Board
from tidegate.errors import TidegateError
from tidegate.files import read_limited
from tidegate.release import Release, Target
from tidegate.serialport import BoardError, Session

MPY_VERSION = 6  # what mpy-cross 1.25 writes
MAX_JSON = 4096  # bytes; what the board reads (firmware/lib/tidegate/config.py)
STAGED = "/tg/flash.img"
SPARE = 16 * 1024  # bytes of the file system that stay free beside the staged image

Progress = Callable[[str, int, int], None]  # what, done, total


@dataclass
class Request:
    """What to put on the board. A file that is None must be on the board already."""

    board: Board
    root: Path
    release: Release | None = None
    trust: Path | None = None
    config: Path | None = None
    credentials: Path | None = None
    wipe: bool = False


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
    files = _files(request)
    with Session(port) as session:
        outcome = _recognise(session, request.board)
        _check_complete(session, files, request)
        if request.wipe:
            outcome.removed = _wipe(session)
        _remove_stale(session, files, outcome)
        for path, data in files.items():
            wrote = session.put(path, data, partial(progress, path))
            (outcome.written if wrote else outcome.kept).append(path)
        if request.release:
            _install(session, request, outcome, progress)
        outcome.slots = _status(session)
        _check_bootable(outcome)
        session.reset()
    return outcome


def verify(port: str, request: Request) -> list[str]:
    """Compare the board with `request` without changing it; what differs, a line each."""
    wrong = []
    with Session(port) as session:
        _recognise(session, request.board)
        for path, data in _files(request).items():
            found = session.digest(path)
            if found != hashlib.sha256(data).hexdigest():
                wrong.append(f"{path} is missing" if found is None else f"{path} differs")
        if session.digest("/boot/flash.mpy") is None:
            return [*wrong, "there is no loader"]
        slots = _status(session)
        if request.release:
            target = _target(request.release, request.board)
            running = slots["slots"][slots["running"]] if slots else None
            if not running or running["digest"] != target.digest or not running["whole"]:
                wrong.append(f"the running slot does not hold {request.release.version}")
    return wrong


def _recognise(session: Session, board: Board) -> Outcome:
    """Refuses a board that is not the one named, or whose MicroPython cannot run our images."""
    machine, version, mpy = session.value(
        "(sys.implementation._machine, '.'.join(str(n) for n in sys.implementation.version[:3]), "
        "getattr(sys.implementation, '_mpy', 0))"
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
    unique_id = session.value("binascii.hexlify(__import__('machine').unique_id()).decode()")
    return Outcome(session.port, machine, unique_id, version)


# ------------------------------------------------------------------ what belongs on the board


def _files(request: Request) -> dict[str, bytes]:
    """Path on the board and content, in the order of writing: /main.py last, so that it finds its loader."""
    files: dict[str, bytes] = {}
    if request.trust:
        data = read_limited(request.trust, trust.MAX_SIZE, "trust store")
        trust.decode(data)
        files["/tg/trust.cbor"] = data
    for path, source in (("config", request.config), ("credentials", request.credentials)):
        if source:
            files[f"/tg/{path}.json"] = _json(source, path)
    with tempfile.TemporaryDirectory(prefix="tidegate-") as scratch:
        loader = sorted((request.root / "firmware" / "boot").glob("*.py"))
        for source in [*loader, request.root / "boards" / request.board.name / "board.py"]:
            name = f"boot/{source.name}"
            files[f"/{name[:-3]}.mpy"] = image.compile_source(source, name, request.board, Path(scratch))
    files["/main.py"] = (request.root / "firmware" / "main.py").read_bytes()
    return files


def _json(path: Path, what: str) -> bytes:
    data = read_limited(path, MAX_JSON, what)
    try:
        value = json.loads(data)
    except ValueError as error:
        raise TidegateError(f"{path} is not JSON: {error}", "Correct it") from error
    if not isinstance(value, dict):
        raise TidegateError(f"{path} is not a JSON object", "Correct it")
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _check_complete(session: Session, files: dict[str, bytes], request: Request) -> None:
    """A first flashing needs everything; a later one may leave out what the board has."""
    for name, option in (
        ("trust.cbor", "trust"),
        ("config.json", "config"),
        ("credentials.json", "credentials"),
    ):
        path = f"/tg/{name}"
        if path not in files and session.digest(path) is None:
            raise BoardError(f"the board has no {path} yet", f"Give it one with --{option} FILE")
    if request.release is None and session.digest("/boot/flash.mpy") is None:
        raise BoardError("the board has no image yet", "Give it one with --release DIR")


def _remove_stale(session: Session, files: dict[str, bytes], outcome: Outcome) -> None:
    """An old boot/x.py would be imported instead of our boot/x.mpy; /boot is the loader's alone."""
    found = session.value("os.listdir('/boot') if 'boot' in os.listdir('/') else []")
    for name in found:
        path = f"/boot/{name}"
        if path not in files:
            session.run(f"os.remove({path!r})")
            outcome.removed.append(path)


def _wipe(session: Session) -> list[str]:
    """Forget what the agent keeps: counters, staged updates, reports. Settings and slots stay."""
    removed = []
    for name in session.value(
        "os.listdir('/tg/state') if 'tg' in os.listdir('/') and 'state' in os.listdir('/tg') else []"
    ):
        path = f"/tg/state/{name}"
        session.run(f"os.remove({path!r})")
        removed.append(path)
    return removed


# ------------------------------------------------------------------ the image


def _install(session: Session, request: Request, outcome: Outcome, progress: Progress) -> None:
    release = request.release
    if release is None:
        return
    target = _target(release, request.board)
    slots = _status(session)
    if slots and not slots["trial"]:
        running = slots["slots"][slots["running"]]
        if running["whole"] and running["digest"] == target.digest and slots["floor"] == release.sequence:
            outcome.kept.append(f"image {release.version}")
            return
    data = release.payload(target.digest)
    free = session.value("(lambda s: s[0] * s[3])(os.statvfs('/'))")
    if free < len(data) + SPARE:
        raise BoardError(
            f"the board's file system has {free} bytes free, staging the image takes {len(data) + SPARE}",
            "Remove files with `mpremote rm`, or flash with --wipe",
        )
    session.put(STAGED, data, partial(progress, f"image {release.version}"))
    session.run(
        "from boot import flash, board\n"
        f"flash.install(board.Board(), {STAGED!r}, bytes.fromhex({target.digest!r}), {release.sequence})\n"
        f"os.remove({STAGED!r})",
        timeout=120,
    )
    outcome.written.append(f"image {release.version}")


def _target(release: Release, board: Board) -> Target:
    target = release.targets.get(board.name)
    if target is None:
        raise TidegateError(
            f"release {release.version} has no image for {board.name}, only for {', '.join(release.targets)}",
            f"Build it with --board {board.name}",
        )
    return target


def _status(session: Session) -> dict[str, Any] | None:
    return session.value("(__import__('boot.flash').flash.status(__import__('boot.board').board.Board()))", 60)


def _check_bootable(outcome: Outcome) -> None:
    slots = outcome.slots
    if slots is None or not slots["slots"][slots["running"]]["whole"]:
        raise BoardError("the board has no slot that boots", "Flash an image with --release DIR")
