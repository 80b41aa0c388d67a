"""`tidegate open`: an address that signs in once, without the token in it."""

from __future__ import annotations

import json
import webbrowser
from collections.abc import Callable

import pytest
from click.testing import Result
from odd_server import OddServer

Cli = Callable[..., Result]
TICKET = "tgt_" + "A" * 43


@pytest.mark.parametrize(
    ("page", "place"),
    [("", "/"), ("devices/gate-7", "/devices%2Fgate-7"), ("/alarms?kind=crash&x#y", "/alarms%3Fkind%3Dcrash%26x%23y")],
)
def test_the_address_has_a_ticket_and_no_token(cli: Cli, server: OddServer, page: str, place: str) -> None:
    done = cli("open", page, "--print", "--json")
    assert done.exit_code == 0, done.stderr
    address = f"{server.url}/sign-in?next={place}#token={TICKET}"
    assert json.loads(done.stdout) == {"address": address, "seconds": 60, "opened": False}
    assert server.heard[-1] == "POST /api/v1/sign-in-tickets"
    assert cli("open", page, "--print").stdout.splitlines()[0] == address


def test_a_browser_gets_it_where_there_is_a_screen(
    cli: Cli, server: OddServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    assert "within 60 seconds" in cli("open").stdout and not opened
    monkeypatch.setenv("DISPLAY", ":0")
    assert cli("open").stdout == f"opened {server.url} in a browser\n" and TICKET in opened[0]
    assert TICKET in cli("open", "--print").stdout and len(opened) == 1
    monkeypatch.setattr(webbrowser, "open", lambda address: False)  # a screen without a browser
    assert TICKET in cli("open").stdout
