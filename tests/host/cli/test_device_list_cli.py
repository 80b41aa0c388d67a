"""`tidegate device list` with its filters, and `tidegate device wait`, over HTTP from a server of prepared answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from odd_server import DEVICE, OddServer, reply

from tidegate.cli import wait

Cli = Callable[..., Result]
FLEET = [
    {**DEVICE, "id": "gate-2", "name": None, "online": False},
    {**DEVICE, "id": "gate-3", "name": "Pump_7", "group": "default", "board": "unix"},
    {**DEVICE, "id": "gate-4", "name": "", "version": "1.0.1", "product": "acme-cooler", "online": None},
    DEVICE,  # the last one: what comes after it is the odd server's own answer
]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "POLL_S", 0.001)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", "1234"),
        ("--online", "13"),
        ("--offline", "24"),
        ("--group default", "3"),
        ("--board qemu_mps2 --version 1.0.0", "12"),
        ("--product acme-cooler", "4"),
        ("--search pump_", "3"),
        ("--search GATE-", "1234"),
        ("--search hall --offline", ""),
        ("--version 1.0", ""),
    ],
)
def test_the_list_has_what_all_filters_let_through(cli: Cli, server: OddServer, words: str, expected: str) -> None:
    server.twist = lambda request, usual: {"devices": FLEET if request.endswith("after=") else []}
    done = cli("device", "list", "--json", *words.split())
    assert done.exit_code == 0, done.stderr
    assert sorted(one["id"] for one in json.loads(done.stdout)["devices"]) == [f"gate-{one}" for one in expected]
    shown = cli("device", "list", *words.split()).stdout
    assert [one for one in "1234" if f"gate-{one}" in shown] == list(expected)
    assert ("None of 4 devices is like that." in shown) == (not expected)


@pytest.mark.parametrize(
    ("sort", "expected"), [("name", "3124"), ("version", "2314"), ("seen", "3124"), ("board", "2413")]
)
def test_the_list_is_sorted_and_what_lacks_the_word_comes_last(
    cli: Cli, server: OddServer, sort: str, expected: str
) -> None:
    seen = {"gate-1": "2026-11-29T08:00:00.000Z", "gate-3": "2026-11-30T08:00:00.000Z"}
    fleet = [{**one, "last_seen": seen.get(one["id"])} for one in FLEET]
    server.twist = lambda request, usual: {"devices": fleet if request.endswith("after=") else []}
    done = cli("device", "list", "--sort", sort, "--json")
    assert done.exit_code == 0, done.stderr
    assert [one["id"][-1] for one in json.loads(done.stdout)["devices"]] == list(expected)
    assert "like that" not in cli("device", "list", "--sort", sort).stdout


def test_an_empty_server_says_how_devices_come_whatever_the_filters(cli: Cli, server: OddServer) -> None:
    server.twist = lambda request, usual: {"devices": []}
    assert "Make a claim for one" in cli("device", "list", "--offline").stdout


def one_after_another(server: OddServer, *states: dict[str, Any] | None) -> None:
    """The server shows these, the last one for ever; None: it does not know the device."""
    left = list(states)

    def twist(_request: str, usual: Any) -> Any:
        state = left.pop(0) if len(left) > 1 else left[0]
        if state is None:
            body = json.dumps({"detail": "there is no device gate-1"}).encode()
            return lambda handler: reply(handler, body, 404)
        return {**usual, **state}

    server.twist = twist


def test_it_waits_for_a_device_that_is_yet_to_come(cli: Cli, server: OddServer) -> None:
    one_after_another(server, None, {"online": False, "version": None}, {"online": True})
    done = cli("device", "wait", "gate-1", "--timeout", "600")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.splitlines() == [
        "gate-1 is not a device of the server; waiting",
        "gate-1 is offline and is new (its update: confirmed); waiting",
    ]
    assert done.stdout == "gate-1 is online and runs 1.0.0 (its update: confirmed)\n"


def test_a_version_counts_once_its_trial_is_over(cli: Cli, server: OddServer) -> None:
    trial = {"version": "1.0.1", "trial": True, "update": {"phase": "trial"}}
    one_after_another(server, {}, trial, trial, {"version": "1.0.1", "trial": False, "online": False})
    done = cli("device", "wait", "gate-1", "--version", "1.0.1", "--timeout", "600", "--json")
    assert done.exit_code == 0 and done.stderr == ""
    assert json.loads(done.stdout)["version"] == "1.0.1" and len(server.heard) == 4


def test_both_conditions_must_hold(cli: Cli, server: OddServer) -> None:
    one_after_another(server, {"online": False}, {"version": "1.0.1"}, {})
    assert cli("device", "wait", "gate-1", "--online", "--version", "1.0.0", "--timeout", "600").exit_code == 0
    assert len(server.heard) == 3


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (None, "gate-1 is not a device of the server"),
        ({"online": False, "revoked": "2026-11-29T08:00:00.000Z"}, "gate-1 is revoked"),
        ({"online": False}, "gate-1 is offline and runs 1.0.0"),
    ],
)
def test_too_late_is_exit_code_1_and_says_how_it_stands(
    cli: Cli, server: OddServer, state: dict[str, Any] | None, says: str
) -> None:
    one_after_another(server, state)
    for timeout in ("0", "0.01"):
        done = cli("device", "wait", "gate-1", "--timeout", timeout)
        assert done.exit_code == 1 and done.stdout == ""
        assert f"Error: {says}" in done.stderr and f"after {timeout} s" in done.stderr
        assert "tidegate device timeline gate-1" in done.stderr
    assert cli("device", "wait", "gate-1", "--timeout", "nan").exit_code == 2
    assert cli("device", "wait", "gate-1", "--timeout", "-1").exit_code == 2


def test_what_a_server_refuses_is_not_waited_for(cli: Cli, server: OddServer) -> None:
    server.twist = lambda _request, _usual: lambda handler: reply(handler, b'{"detail": "unknown token"}', 401)
    done = cli("device", "wait", "gate-1", "--timeout", "600")
    assert done.exit_code == 1 and "unknown token" in done.stderr and len(server.heard) == 1


def complete(server: str, *typed: str) -> list[str]:
    """What click answers a bash in which this was typed."""
    environment = {
        "COMP_WORDS": " ".join(["tidegate", *typed]),
        "COMP_CWORD": str(len(typed)),
        "TIDEGATE_SERVER": server,
    }
    environment["_TIDEGATE_COMPLETE"] = "bash_complete"
    program = [sys.executable, "-c", "from tidegate.__main__ import main; main()"]
    done = subprocess.run(program, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.stderr == "", done.stderr
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_the_shell_completes_ids_and_names(server: OddServer) -> None:
    server.twist = lambda request, usual: {"devices": FLEET if request.endswith("after=") else []}
    assert complete(server.url, "device", "show", "gate-") == ["gate-1", "gate-2", "gate-3", "gate-4"]
    assert complete(server.url, "cmd", "send", "Pu") == ["Pump_7"]
    assert complete(server.url, "cmd", "send", "gate-1", "g") == []
    server.twist = lambda request, usual: reply({"error": "no"}, 401)
    assert complete(server.url, "device", "show", "gate-") == []
    server.close()
    assert complete(server.url, "device", "show", "gate-") == []
