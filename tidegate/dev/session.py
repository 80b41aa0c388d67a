"""One session of `tidegate dev`: everything it starts, and the way of each save onto the board.

It is the way that updates take in the field: an image, a patch, a manifest signed with a key of the session's own, a
server, the board's own decision, a trial. Only the first image goes over the serial port, and any other that follows
one which never came so far as to run the agent: nobody else could reach such a board.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidegate import project as projects
from tidegate.dev import board_log, boards
from tidegate.dev.board_log import BoardLog
from tidegate.dev.boards import DevBoard
from tidegate.dev.server import DevServer
from tidegate.dev.watch import Watcher
from tidegate.dev.workplace import alone, development_keys, request_for
from tidegate.errors import TidegateError
from tidegate.files import write_atomic
from tidegate.project import Project, versions
from tidegate.release import Release, build_release, load_release, publish_release, sign_release
from tidegate.trust import keys

DEVICE = "dev"
ENVIRONMENT = "env"  # for a shell: with it, commands mean the session's server
TICK_S = 0.1
MOST_UNDER_WAY = 3  # of which a patch is made; from others the board takes the whole image
MOST_VERSION = 20  # characters of the project's version, so that "+dev.N" fits behind it
_ENDS = ("confirmed", "rolled-back", "failed", "refused")

Show = Callable[[str, str], None]  # kind ("step", "board", "error", "good"), one or more lines


@dataclass(frozen=True)
class _Sent:
    """A published release whose end has not been heard of."""

    release: Release
    saved_at: float  # of time.monotonic: when the save was noticed that it was made of

    @property
    def since_save(self) -> str:
        return f"{time.monotonic() - self.saved_at:.1f} s after the save"


class Session:
    """One session for `project` on `board_name`; `prepare`, then `tick` for ever, then `close`.

    port: where such a board is, which reaches this machine at `host`; None: a board that this machine runs.
    """

    def __init__(self, project: Project, board_name: str, show: Show, port: str | None = None, host: str | None = None):
        if port is None and board_name not in boards.KINDS:
            raise TidegateError(
                f"this machine does not run a {board_name}",
                f"Name its serial port with --port, or give --board {' or --board '.join(boards.KINDS)}",
            )
        project.sources.board(board_name)
        self._project = project
        self._board_name = board_name
        self._port, self._host = port, host
        self._show = show
        self._folder = project.work / "dev"
        self._open = contextlib.ExitStack()
        self._server: DevServer | None = None
        self._board: DevBoard | None = None
        self._log: BoardLog | None = None
        self._key: keys.Key | None = None
        self._watcher = Watcher(_watched(project))
        self._sequence = 0
        self._running: Release | None = None  # what the board has confirmed
        self._flashed: Release | None = None  # flashed, and not yet heard of
        self._sent: dict[int, _Sent] = {}  # by sequence: somebody may save while another is on its way
        self._saved_at = 0.0
        self._reported = 0  # id of the last report that was looked at

    # ------------------------------------------------------------------ begin and end

    def prepare(self) -> None:
        """Start server and board. An application that does not build is shown; the next save is tried then."""
        self._open.enter_context(alone(self._folder))
        self._key, trust = development_keys(self._folder / "keys", self._folder / "trust.cbor")
        self._show("step", "starting a server")
        self._server = DevServer(self._folder, trust, is_public=self._port is not None)
        self._open.callback(self._server.stop)
        self._show("step", f"server {self._server.url}, with a broker of its own")
        self._show("step", f"status page {self._server.status_page}")
        account = self._server.api.add_device(DEVICE, self._board_name, self._project.product)
        credentials = {"user": account["mqtt"]["user"], "password": account["mqtt"]["password"]}
        write_atomic(self._folder / "credentials.json", json.dumps(credentials).encode(), mode=0o600)
        write_atomic(self._folder / ENVIRONMENT, _environment(self._folder, self._server).encode(), mode=0o600)
        self._show("step", f"for commands in another terminal: . {os.path.relpath(self._folder / ENVIRONMENT)}")
        self._board = boards.make(self._board_name, self._folder, self._port, self._host)
        self._open.callback(self._board.stop)
        self._log = BoardLog(self._board.log)
        self._saved_at = time.monotonic()
        self._first_image()

    def close(self) -> None:
        self._open.close()

    # ------------------------------------------------------------------ while it runs

    def tick(self) -> None:
        """Show what the board printed, follow the update that is under way, and begin the next one on a save.

        TidegateError once board or server have ended by themselves.
        """
        self._show_console()
        self._check_alive()
        self._follow()
        saved = self._watcher.changed()
        if not saved:
            return
        self._saved_at = time.monotonic()
        names = [os.path.relpath(path, self._project.folder) for path in saved]
        self._show("step", f"saved {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}")
        if self._running is None:
            self._first_image()
        else:
            self._update()

    def _check_alive(self) -> None:
        assert self._board and self._server
        for what, log, ended in (
            (f"the board {self._board_name}", self._board.log, self._board.ended()),
            ("the server", self._folder / "server.log", self._server.ended()),
        ):
            if ended:
                raise TidegateError(f"{what} is gone: {ended}", f"Run `tidegate dev` again; {log} has its last words")

    def _first_image(self) -> None:
        """Build and flash over the serial port, or show why not."""
        try:
            made = self._build([])
            self._show(
                "step",
                f"flashing {made.version} over {'its serial port' if self._board_name != 'unix' else 'its folder'}",
            )
            self._flash(made)
        except TidegateError as error:
            self._complain(error)
            return
        self._flashed = made

    def _update(self) -> None:
        """Build, sign and publish, or show why not."""
        assert self._server and self._running
        try:
            under_way = [sent.release for sent in reversed(self._sent.values())]
            made = self._build([*under_way[:MOST_UNDER_WAY], self._running])
            publish_release(made, self._server.api)
        except TidegateError as error:
            self._complain(error)
            return
        self._sent[made.sequence] = sent = _Sent(made, self._saved_at)
        patches = [patch.size for patch in made.targets[self._board_name].patches]
        what = f"patch of {min(patches)} bytes" if patches else "whole image"
        self._show("step", f"{made.version} published, {what}, {sent.since_save}")

    def _build(self, bases: list[Release]) -> Release:
        """The signed release of the files as they are; TidegateError where they do not build."""
        assert self._key
        self._project = projects.load(self._project.folder)
        self._watcher.watch(_watched(self._project))
        sequence = self._sequence + 1
        version = f"{versions.version_of(self._project)[:MOST_VERSION]}+dev.{sequence}"
        made = build_release(
            self._project.sources,
            self._folder / "releases" / str(sequence),
            board_names=[self._board_name],
            version=version,
            sequence=sequence,
            previous=bases,
            product=self._project.product,
            vendor=self._project.vendor,
        )
        self._sequence = sequence
        sign_release(made, [self._key])
        needed = {made.folder, *(base.folder for base in bases), *(sent.release.folder for sent in self._sent.values())}
        for folder in (self._folder / "releases").iterdir():
            if folder not in needed:
                shutil.rmtree(folder)
        return load_release(made.folder)

    def _flash(self, release: Release) -> None:
        assert self._server and self._board and self._log
        request = request_for(self._project, release, self._folder, DEVICE, self._board.host, self._server)
        shown = 0

        def progress(what: str, done: int, total: int) -> None:
            nonlocal shown
            if what.startswith("image") and total and done * 4 // total > shown:
                shown = done * 4 // total
                self._show("step", f"flashing the image, {25 * shown} %")

        self._board.flash(request, progress)
        self._log.skip()

    # ------------------------------------------------------------------ what the board says

    def _follow(self) -> None:
        assert self._server
        if self._flashed is not None:
            self._await_first()
        elif self._sent:
            self._await_ends()

    def _await_first(self) -> None:
        """Whether the flashed image has come so far as to run the agent."""
        assert self._server and self._flashed
        known = self._server.api.device(DEVICE)
        if known["online"] and known["version"] == self._flashed.version:
            self._running, self._flashed = self._flashed, None
            publish_release(self._running, self._server.api)
            self._show("good", f"{self._running.version} runs on the board. Save a file to change it")

    def _await_ends(self) -> None:
        assert self._server
        found = self._server.api.records(DEVICE, "reports", 50)["reports"]
        for report in reversed(found):
            if report["id"] <= self._reported:
                continue
            self._reported = report["id"]
            if sent := self._sent.get(report["sequence"]):
                self._tell(report, sent)

    def _tell(self, report: dict[str, Any], sent: _Sent) -> None:
        phase, detail = report["phase"], report.get("detail") or ""
        release = sent.release
        if phase not in _ENDS:
            words = detail if phase == "waiting" else f"{phase}{f', {detail}' if detail else ''}"
            self._show("step", f"board: {words}, {sent.since_save}")
            return
        # Nothing more is heard of older ones: the board took this one in their place.
        self._sent = {number: other for number, other in self._sent.items() if number > release.sequence}
        assert self._log
        self._log.trial_ended()
        if phase == "confirmed":
            self._running = release
            self._show("good", f"{release.version} is confirmed, {sent.since_save}")
            return
        assert self._running
        back = f"; the board is back at {self._running.version}" if phase == "rolled-back" else ""
        self._show("error", f"{release.version} {phase}: {detail or 'without a reason'}{back}, {sent.since_save}")

    def _show_console(self) -> None:
        assert self._log
        for line in self._log.lines():
            self._show("error" if board_log.is_error(line) else "board", line)
        if silent_s := self._log.silence():
            self._show(
                "step",
                f"the board has printed nothing for a while, {silent_s:.0f} s into this attempt. If its code hangs, "
                "the watchdog ends it, and after three attempts the board goes back",
            )

    def _complain(self, error: TidegateError) -> None:
        self._show("error", f"{error.message}\n{error.remedy}".strip())


def _environment(folder: Path, server: DevServer) -> str:
    values = {
        "TIDEGATE_SERVER": server.url,
        "TIDEGATE_TOKEN_FILE": server.data / "admin.token",
        "TIDEGATE_COMMAND_KEY": folder / "keys" / "command.jwk",
        "TIDEGATE_KNOWN_DEVICES": folder / "known-devices",  # each session's board is another one
    }
    return "".join(f"export {name}={shlex.quote(str(value))}\n" for name, value in values.items())


def _watched(project: Project) -> list[Path]:
    """What images depend on: a save there is one to bring to the board."""
    return [project.folder / name for name in project.sources.tracked]
