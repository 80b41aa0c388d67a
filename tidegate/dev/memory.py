"""How much of the emulated board's heap an image takes while its application is at rest.

The image is flashed and started as on any board, without a server. A task beside the application's own collects, and
prints what lives; what that task itself takes is subtracted. As the same image takes the same on the same firmware,
each is measured once for a project.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from tidegate import boards, library
from tidegate.dev import mapped_folder
from tidegate.dev.boards import EMULATED, EmulatedBoard
from tidegate.dev.workplace import NoServer, alone, development_keys, request_for
from tidegate.errors import TidegateError
from tidegate.files import write_atomic
from tidegate.flash import loader_files
from tidegate.flash.serial_session import Session
from tidegate.project import Project
from tidegate.release import Release

STEPS = 5  # a second apart; the least counts: between two attempts to reach a server
BLOCK = 16  # bytes that MicroPython's heap is counted in, on the emulated board
PROBE = "/heap_probe.py"

_DEVICE = "memory"
_LIMIT_S = 300  # it takes 10 s on a machine that has nothing else to do
# What the loader says when there is nothing to wait for.
_ENDS = re.compile(r"^tidegate: (?:safe mode|the application raised|the application ended).*\n", re.MULTILINE)
_TAIL = 12  # lines of the console in an error
_PROBE_TEXT = f"""
import asyncio, gc, micropython

async def probe(own):
    for _ in range({STEPS}):
        await asyncio.sleep_ms(1000)
        gc.collect()
        print("heap-probe:", gc.mem_alloc() - own[0], gc.mem_free() + own[0])
        micropython.mem_info()
    print("heap-probe: end")
"""
_BEFORE_MAIN = b"""
import asyncio, gc, micropython
gc.collect()
_own = [gc.mem_alloc()]
import heap_probe
asyncio.create_task(heap_probe.probe(_own))
gc.collect()
_own[0] = gc.mem_alloc() - _own[0]
"""
_FIGURES = re.compile(r"^heap-probe: (\d+) (\d+)\r?\n(?:.*\n){0,4}?.*max free sz: (\d+)\r?\n", re.MULTILINE)


@dataclass(frozen=True)
class Memory:
    """Bytes of the emulated board's heap at rest: what lives, what is free, and the largest free piece."""

    live: int
    free: int
    largest: int


def at_rest(project: Project, digest: str, release: Callable[[Path], Release]) -> Memory:
    """What the emulated board's image with this SHA-256 takes. release(folder): the release it is flashed from, made
    in `folder` if it is to be made; called only where that image was not measured with this firmware before.
    """
    firmware = library.folder() / boards.load(library.folder(), EMULATED).settings["emulator"]["m3"]["firmware"]
    if not firmware.is_file():
        raise TidegateError(f"there is no firmware {firmware}", "`tidegate doctor` says what is missing")
    known = project.work / "memory" / f"{digest}-{hashlib.sha256(firmware.read_bytes()).hexdigest()}.json"
    found = _known(known)
    if found is None:
        with alone(project.work / "memory-board"):
            found = _measured(project, project.work / "memory-board", release)
        known.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(known, json.dumps(asdict(found)).encode())
    return found


def _known(path: Path) -> Memory | None:
    """What was measured before; None where nothing was, or what is there is not ours."""
    try:
        values = json.loads(path.read_bytes())
        return Memory(*(int(values[field.name]) for field in fields(Memory)))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _measured(project: Project, folder: Path, release: Callable[[Path], Release]) -> Memory:
    development_keys(folder / "keys", folder / "trust.cbor")
    write_atomic(folder / "credentials.json", json.dumps({"user": "none", "password": "none"}).encode(), mode=0o600)
    made = release(folder / "release")
    request = request_for(project, made, folder, _DEVICE, EmulatedBoard.host, NoServer(), EMULATED)
    loader = request.loader(False)
    large = mapped_folder.staged(made.payload(made.targets[EMULATED].digest), loader, request.board)
    board = EmulatedBoard(folder)
    try:
        with board.port() as port, Session(port) as session:
            mapped_folder.deliver(session, board.storage, large)
        board.flash(request, lambda what, done, total: None)
        with board.port() as port, Session(port) as session:
            session.feed_watchdog(request.board.watchdog_ms)
            session.put(PROBE, _PROBE_TEXT.encode())
            session.put(loader_files.MAIN, _BEFORE_MAIN + loader[loader_files.MAIN])
            before = board.log.stat().st_size
            session.reset()
        return _read(board, before)
    finally:
        board.stop()
        board.storage.unlink(missing_ok=True)


def _read(board: EmulatedBoard, start: int) -> Memory:
    """What the probe prints behind `start` in the board's log."""
    deadline = time.monotonic() + _LIMIT_S
    while True:
        text = board.log.read_bytes()[start:].decode(errors="replace")
        if "heap-probe: end" in text:
            break
        why = board.ended()
        if _ENDS.search(text):
            why = "the application ends before it is at rest"
        elif time.monotonic() > deadline:
            why = f"it was not at rest after {_LIMIT_S} s"
        if why:
            last = "\n".join(text.replace("\r", "").strip().split("\n")[-_TAIL:])
            raise TidegateError(
                f"the memory of the image was not measured: {why}; the board said:\n{last}",
                "`tidegate dev` runs it and shows its log",
            )
        time.sleep(0.1)
    found = [Memory(int(live), int(free), int(largest) * BLOCK) for live, free, largest in _FIGURES.findall(text)]
    if not found:
        raise TidegateError("the board's MicroPython says nothing of its memory", "Use the firmware of this Tidegate")
    return min(found, key=lambda one: one.live)
