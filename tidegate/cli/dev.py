"""`tidegate dev`: the application on a board, anew at every save, until Ctrl-C."""

from __future__ import annotations

import signal
import time

import click

from tidegate import project as projects
from tidegate.cli._common import complain, confirm, say, yes_option
from tidegate.dev import boards
from tidegate.dev.session import TICK_S, Session
from tidegate.project import types

_MARKS = {"step": "dev  ", "board": "board", "error": "ERROR", "good": "OK   "}


@click.command(
    epilog="""\b
Examples:
  tidegate dev
  tidegate dev --board unix
  tidegate dev --port a0 --board rpi_pico_w"""
)
@click.option(
    "--board",
    "board_name",
    help="qemu_mps2, the emulated board, or unix, a Linux gateway; with --port, that board. Default: of tidegate.toml.",
)
@click.option("--port", metavar="PORT", help="A board at this serial port, as mpremote names it: a0, u0, id:SERIAL.")
@click.option("--host", metavar="ADDRESS", help="With --port: this machine, as the board sees it. Default: looked up.")
@yes_option
@click.option("--quiet", is_flag=True, help="Do not show what the board prints.")
def dev(board_name: str | None, port: str | None, host: str | None, yes: bool, quiet: bool) -> None:
    """Run the project's application on a board of this machine, and bring it every change as you save it.

    A server is started, the board flashed and registered. Each save is built, signed with a development key, published,
    patched, tried, and confirmed or rolled back, as in the field. Ctrl-C ends it and all it started.

    A board at a --port is flashed anew, with development keys; Wi-Fi and the like are in [settings]. The server is then
    open to this machine's network, without TLS.
    """
    project = projects.find_project()
    types.refresh(project.folder)
    here = [name for name in project.boards if (name not in boards.KINDS if port else name in boards.KINDS)]
    name = board_name or next(iter(here), boards.EMULATED)
    if port:
        confirm(f"Flash {port} as a {name} with development keys, and erase its counters?", yes, as_json=False)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # a polite end, as with Ctrl-C

    def show(kind: str, text: str) -> None:
        if kind == "board" and quiet:
            return
        for line in text.splitlines():
            say(f"{_MARKS[kind]}  {line}")

    session = Session(project, name, show, port, host)
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
