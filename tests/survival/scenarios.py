"""What a board is busy with while it is troubled, and what must come out of it.

Two kinds of worlds. `Lean`: the real loader (firmware/boot) starts a stand-in that calls it as the agent does: a slot
is written, armed, tried, confirmed, given up. `Agent`: the real agent with its offers, downloads and patches, in the
world of the power-cut suite (tests/device/support/sim_gateway). The first does in a millisecond what the second does in
twenty, so most runs are lean.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import tempfile
from pathlib import Path

import sim_gateway
from boot import flash, loader, rollback, slots
from faulty_board import FaultyBoard, FaultyFiles
from judge import Judge

BOOTS = 60  # more than that, and the board is held to be lost
PIECE = 256
TRIES = 3  # of a job that fails


def _image(sequence: int) -> bytes:
    return random.Random(sequence).randbytes(4096 + 700 * sequence)


IMAGES = {sequence: _image(sequence) for sequence in range(1, 4)}

# name: (images flashed one after the other, job, how image 2 or 3 behaves in its trial, sequence and floor in the end)
LEAN = {
    "update": ((1,), ("install", 2), None, 2, 2),
    "second update": ((1, 2), ("install", 3), None, 3, 3),
    "trial that hangs": ((1,), ("install", 2), "hangs", 1, 1),
    "trial that raises": ((1,), ("install", 2), "raises", 1, 1),
    "way back": ((3, 1), ("back",), None, 3, 1),
    "new number": ((1,), ("number", 5), None, 1, 5),
    "flashing": ((1,), ("flash", 2), None, 2, 2),
}
# name: (release that runs, envelope offered, sequence in the end, how release 2 behaves, verifies signatures)
AGENT = {
    "agent, patch": (1, "patch", 2, None, None),
    "agent, image": (1, "image", 2, None, None),
    "agent, rolled back": (1, "patch", 1, "hangs", None),
    "agent, way back": (4, "back", 5, None, None),
    "agent, signed": (2, "next-patch", 3, None, "patch"),
}


class Lean:
    """One board for one scenario with one kind of slots; restored for each run."""

    def __init__(self, name: str, kind: str):
        flashed, self.job, self.behaviour, self.goal, self.floor = LEAN[name]
        self.board = FaultyBoard("", slots=kind)
        if kind == "file":
            self.board.files = FaultyFiles(self.board)
            self.board.folder = self.board.files.folder + "/tg"
        else:
            self.board.folder = sim_folder()
        Path(self.board.folder).mkdir()
        self._image = self.board.folder + "/image"
        for sequence in flashed:
            self._flash(sequence)
        self._start = self.board.snapshot()
        self._first = flashed[-1]

    def begin(self, trouble) -> Judge:
        self.board.trouble = None
        self.board.restore(self._start)
        self.board.trouble = trouble
        self.judge = Judge(self.board, IMAGES)
        self.judge.promised = self.judge.confirmed = self._first
        self.done = False
        self._failures = 0
        self.finished = None
        return self.judge

    def boot(self) -> str:
        self.launched = False
        self.judge.before()
        if self.job[0] == "flash" and not self.done:
            end = self.board.boot(self._at_the_cable)
            if end == "cut":
                return end
        return self.board.boot(lambda board: loader.run(board, self._app))

    def close(self) -> None:
        if self.board.files:
            self.board.files.close()

    def _app(self, boot) -> None:
        """What the agent does with the loader, in a few lines."""
        self.launched = True
        sequence = boot.running.sequence
        self.judge.started(sequence, boot.trial, bytes(boot.image()))
        self.running = sequence
        if boot.trial and self.behaviour == "hangs":
            self.board.hang()
        if boot.trial and self.behaviour == "raises":
            raise ValueError("as a bad image does")
        try:
            if boot.trial:
                boot.confirm()
                self.judge.confirmed = max(self.judge.confirmed, sequence)
                self.judge.promised = max(self.judge.promised, sequence)
            if boot.outcome:
                boot.clear_outcome()
            if not self.done:
                self._work(boot, *self.job)
        except (OSError, boot.SlotError, ValueError):
            self._failures += 1
            if self._failures < TRIES:
                self.board.reset()
        self.board.stop()

    def _work(self, boot, what, sequence=0) -> None:
        if what == "install":
            image = IMAGES[sequence]
            digest = hashlib.sha256(image).digest()
            if boot.running.sequence >= sequence or boot.is_bad(digest):
                return
            writer = boot.slot_writer(len(image))
            for at in range(0, len(image), PIECE):
                writer.write(image[at : at + PIECE])
            writer.finish(digest)
            boot.arm_trial(len(image), digest, sequence)
            self.board.reset()
        elif what == "number":
            boot.raise_floor(sequence)
            self.judge.promised = max(self.judge.promised, sequence)
        # As a command is carried out once.
        elif what == "back" and boot.running.sequence != self.goal and rollback.check(boot)[1] is None:
            rollback.go(boot)
            self.done = True
            self.judge.confirmed = self.judge.promised = 1
            self.board.reset()

    def _at_the_cable(self, board) -> None:
        """A person with a cable goes on until it works, or cannot."""
        try:
            # From here on the person's image counts, and whichever was there before may still run.
            self.judge.confirmed = self.judge.promised = min(self._first, self.job[1])
            self._flash(self.job[1])
        except (OSError, slots.SlotError):
            self._failures += 1
            if self._failures >= TRIES:
                self.done = True
            return
        self.done = True
        self.judge.before()

    def _flash(self, sequence: int) -> None:
        image = IMAGES[sequence]
        real = self.board.files._real[0] if self.board.files else open
        with real(self._image, "wb") as file:
            file.write(image)
        flash.install(self.board, self._image, hashlib.sha256(image).digest(), sequence)


_folders: list = []


def sim_folder() -> str:
    """A folder for a board whose slots are in flash; gone with the process."""
    _folders.append(tempfile.TemporaryDirectory(prefix="tidegate-survival-"))
    return _folders[-1].name + "/tg"


class Agent:
    """The same with the real agent."""

    def __init__(self, name: str, kind: str):
        import check

        first, offered, self.goal, self._behaviour, signed = AGENT[name]
        check.settings["slots"] = kind
        sim_gateway.SimBoard, sim_gateway.Files = FaultyBoard, FaultyFiles
        self.world = sim_gateway.World()
        self.board = self.world.board
        envelope = sim_gateway.envelope
        options = '{"verify": "signature"}' if signed else None
        self.world.flash(first, envelope(signed) if signed else None, options)
        self.world.offer = envelope(offered)
        if self._behaviour:
            self.world.behave[2] = lambda boot: boot.board.hang()
        self._start = self.world.snapshot()
        self._first = first
        self.floor = self.goal
        self.job = ("agent",)

    def begin(self, trouble) -> Judge:
        self.board.trouble = None
        self.world.restore(self._start)
        self.board.trouble = trouble
        # What the manifest "back" brings is the first image, signed again under a new number.
        self.judge = Judge(self.board, {**self.world.images, 5: self.world.images[1]})
        self.judge.promised = self.judge.confirmed = self._first
        self.world.on_boot = self._started
        return self.judge

    def boot(self) -> str:
        self.launched = False
        self.judge.before()
        self.world._wanted = None
        try:
            return self.world.boot(1800 * 1000)
        except AssertionError:
            if self.launched:
                raise
            return "ended"

    def close(self) -> None:
        self.world.close()

    def _started(self, boot) -> None:
        self.launched = True
        self.running = boot.running.sequence
        self.judge.started(self.running, boot.trial, bytes(boot.image()))
        if not boot.trial:
            return
        confirm = boot.confirm

        def confirmed():
            confirm()
            self.judge.confirmed = max(self.judge.confirmed, self.running)
            self.judge.promised = max(self.judge.promised, self.running)

        boot.confirm = confirmed


_made: dict[tuple[str, str], Lean | Agent] = {}
_open: list[Lean | Agent] = []


def scenario(name: str, kind: str) -> Lean | Agent:
    """The world of that name; one with files is open at a time, as it stands in for open()."""
    found = _made.get((name, kind))
    if found is None or found.board.files and found not in _open:
        while _open:
            last = _open.pop()
            with contextlib.suppress(OSError):
                last.close()
            _made.clear()
        found = _made[name, kind] = (Lean if name in LEAN else Agent)(name, kind)
        if found.board.files:
            _open.append(found)
    return found
