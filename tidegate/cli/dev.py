"""`tidegate dev`: the application on a board, anew at every save, until Ctrl-C."""

from __future__ import annotations

import signal
import time

import click

from tidegate import project as projects
from tidegate.cli._common import complain, say
from tidegate.dev import boards
from tidegate.dev.session import TICK_S, Session
from tidegate.project import types

_MARKS = {"step": "dev  ", "board": "board", "error": "ERROR", "good": "OK   "}


@click.command(
    epilog="""\b
Examples:
  tidegate dev
  tidegate dev --board unix"""
)
@click.option(
    "--board",
    "board_name",
    type=click.Choice(boards.KINDS),
    help="qemu_mps2, the emulated board, or unix, a Linux gateway. Default: the first of them in tidegate.toml.",
)
@click.option("--quiet", is_flag=True, help="Do not show what the board prints.")
def dev(board_name: str | None, quiet: bool) -> None:
    """Run the project's application on a board of this machine, and bring it every change as you save it.

    A server is started, the board flashed and registered. Each save is built, signed with a development key, published,
    patched, tried, and confirmed or rolled back, as in the field. Ctrl-C ends it and all it started.
    """
    project = projects.find_project()
    types.refresh(project.folder)
    name = board_name or next((name for name in project.boards if name in boards.KINDS), boards.EMULATED)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # a polite end, as with Ctrl-C

    def show(kind: str, text: str) -> None:
        if kind == "board" and quiet:
            return
        for line in text.splitlines():
            say(f"{_MARKS[kind]}  {line}")

    session = Session(project, name, show)
    try:
        session.prepare()
        _follow(session)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # not in the middle of ending what was started
        session.close()


def _follow(session: Session) -> None:
    """Until Ctrl-C, which is how a session ends; before it has begun, it interrupts."""
    try:
        say("Ctrl-C ends it.")
        while True:
            session.tick()
            time.sleep(TICK_S)
    except KeyboardInterrupt:
        complain("stopped")
