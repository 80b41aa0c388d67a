"""`tidegate open`: the server's page in a browser, signed in."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path
from urllib.parse import quote

import click

from tidegate.cli._common import connect, emit, json_option, say, server_options


@click.command(
    "open",
    epilog="""\b
Examples:
  tidegate open
  tidegate open devices/gate-7
  tidegate open --print""",
)
@click.argument("page", default="")
@click.option("--print", "only_print", is_flag=True, help="Print the address, and open nothing.")
@server_options
@json_option
def open_(page: str, only_print: bool, server: str, token_file: Path | None, as_json: bool) -> None:
    """Open the server's page in a browser, signed in with your token.

    PAGE is what follows the server in its address, such as devices or rollouts. The browser does not get the token:
    the address signs in once, within a minute. Where there is no browser it is printed.
    """
    with connect(server, token_file) as api:
        ticket, seconds = api.sign_in_ticket()
        address = f"{api.url}/sign-in?next=/{quote(page.lstrip('/'), safe='')}#token={ticket}"
    opened = not only_print and _has_screen() and webbrowser.open(address)
    answer = {"address": address, "seconds": seconds, "opened": opened}

    def show(_: object) -> None:
        if opened:
            say(f"opened {api.url} in a browser")
        else:
            say(f"{address}\nOpen it within {seconds} seconds; it signs in once.")

    emit(answer, as_json, show)


def _has_screen() -> bool:
    """Whether a browser has a window of its own: one of the terminal would take the terminal over."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
