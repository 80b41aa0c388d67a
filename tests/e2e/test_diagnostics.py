"""A bad day: everything that can be asked of a gateway, asked through server, broker and `tidegate cmd`; crashes of
every kind, and what is known of them afterwards. On the emulated Cortex-M3 with mosquitto, and on a Linux gateway.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from lab import Installation

from tidegate.cli import _command_output
from tidegate.commands import restarts
from tidegate.commands.send import Request, Sender, follow

BOARD = "gate-d"
GATEWAY = "gate-e"


def dangerous(place: Installation, device: str) -> None:
    path = place.folder / f"{device}.config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "dangerous": True}))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with an emulated board that runs 1.0.0."""
    with Installation(tmp_path_factory.mktemp("diagnostics") / "place", broker="mosquitto") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.build("1.0.0", 1)
        board = made.add_board(BOARD)
        dangerous(made, BOARD)
        made.flash(board, BOARD, "1.0.0")
        made.wait_running(BOARD, "1.0.0", 60)
        yield made


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with a Linux gateway."""
    with Installation(tmp_path_factory.mktemp("diagnostics") / "unix", target="unix") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.build("1.0.0", 1)
        device = made.add_gateway(GATEWAY)
        dangerous(made, GATEWAY)
        made.flash(device, GATEWAY, "1.0.0")
        made.wait_running(GATEWAY, "1.0.0", 60)
        yield made


def send(place: Installation, device: str, *words: str) -> dict[str, Any]:
    """As `tidegate cmd send`, without a process for each: the command at its end."""
    bare = [word for word in words if "=" not in word]
    arguments = dict(_command_output.argument(word) for word in words if "=" in word)
    sender = Sender(place.api, [place.key("command")])
    told = sender.send(place.api.device(device), Request(".".join(bare), arguments))
    return list(follow(place.api, told, 60))[-1]


def ask(place: Installation, device: str, *words: str) -> dict[str, Any]:
    """The answer to a command that must be done; its output, if there is any, under "output"."""
    told = send(place, device, *words)
    assert told["outcome"] == "done", told
    return {**told["result"].get("answer", {}), "output": told.get("output") or ""}


def refused(place: Installation, device: str, *words: str) -> str:
    """Why a command came to nothing."""
    told = send(place, device, *words)
    assert told["outcome"] != "done" and told["why"], told
    return str(told["why"])


def crashes(place: Installation, device: str) -> list[dict[str, Any]]:
    return [alarm for alarm in place.api.alarms.listed(50, device)["alarms"] if alarm["kind"] == "crash"]


def crash(place: Installation, device: str, code: str, reason: str = "") -> dict[str, Any]:
    """Has the device run `code`, which ends it; the alarm of it, with this reason if one is given.

    A task that raises begins again, so an earlier failure may be told of meanwhile.
    """
    before = crashes(place, device)

    def told() -> list[dict[str, Any]]:
        return [one for one in crashes(place, device) if one not in before and reason in ("", one["reason"])]

    sender = Sender(place.api, [place.key("command")])
    sender.send(place.api.device(device), Request("exec", {"code": code}))
    place.wait("an alarm of the crash", told, 60)
    place.wait_running(device, "1.0.0", 60)
    return told()[0]


# ---------------------------------------------------------------- every opcode


def every_opcode(place: Installation, device: str) -> None:
    info = ask(place, device, "info")
    assert info["device"] == device and info["version"] == "1.0.0" and info["sequence"] == 1
    assert info["heap_free"] > 10_000 and info["storage_free"] > 100_000 and info["uptime_s"] >= 0
    offered = ask(place, device, "ops")
    assert offered["ping"][0] == 1 and offered["reboot"][0] == 2 and offered["exec"][0] == 3
    assert ask(place, device, "mem")["largest"] > 4096
    assert ask(place, device, "gc")["free"] > 10_000
    tasks = ask(place, device, "tasks")
    assert tasks["commands"][0] == "works" and tasks["outbox"][0] == "waits"
    assert ask(place, device, "time")["operation_s"] >= 0
    sensors = ask(place, device, "sensors")
    assert 10 < sensors["env"]["temperature"] < 30 and sensors["env"]["failures"] == 0
    assert ask(place, device, "mqtt")["mqtt"]["connected"] is True
    assert ask(place, device, "net")["link"] is True
    status = ask(place, device, "update", "status")
    assert (status["slot"], status["state"], status["offer_bytes"]) == ("A", "idle", 0)
    assert ask(place, device, "slots", "verify")["A"][:3] == [1, "good", True]
    assert ask(place, device, "update", "now") == {"stored": False, "asked": True, "output": ""}
    assert "slot B holds no confirmed image" in refused(place, device, "update", "rollback")
    assert ask(place, device, "bench")["signature_ms"] >= 0


def test_every_opcode_on_the_board(place: Installation) -> None:
    every_opcode(place, BOARD)
    assert ask(place, BOARD, "net")["address"].startswith("10.0.2.")
    assert len(ask(place, BOARD, "net", "ping", "host=10.0.2.2", "n=2")["ms"]) == 2
    assert ask(place, BOARD, "net", "connect", "host=10.0.2.2", f"port={place.mqtt_port}")["port"] == place.mqtt_port
    assert ask(place, BOARD, "net", "resolve", "host=10.0.2.2")["addresses"] == ["10.0.2.2"]
    assert "refused" in refused(place, BOARD, "net", "connect", "host=10.0.2.2", "port=1")
    assert "not in this image" in refused(place, BOARD, "host", "df"), "a board has no programs, nor the opcode"


def test_every_opcode_on_the_gateway(gateway: Installation) -> None:
    every_opcode(gateway, GATEWAY)
    assert "Filesystem" in ask(gateway, GATEWAY, "host", "df")["output"]
    assert "Netid" in ask(gateway, GATEWAY, "host", "ss")["output"]
    assert "ss" in str(ask(gateway, GATEWAY, "ops"))
    assert "letters, digits" in refused(gateway, GATEWAY, "host", "fw_printenv", "name=x;reboot")
    assert "whole number" in refused(gateway, GATEWAY, "host", "journalctl", "n=$(reboot)")
    port = str(gateway.mqtt_port)
    assert ask(gateway, GATEWAY, "net", "connect", "host=127.0.0.1", f"port={port}")["address"] == "127.0.0.1"
    assert "refused" in refused(gateway, GATEWAY, "net", "connect", "host=127.0.0.1", "port=1")


def test_files_are_shown_but_no_secrets(place: Installation) -> None:
    listed = ask(place, BOARD, "fs", "ls", "path=/tg")
    assert "config.json" in listed["output"] and "state/" in listed["output"]
    shown = ask(place, BOARD, "fs", "cat", "path=/tg/config.json")
    wanted = (place.folder / f"{BOARD}.config.json").read_bytes()
    assert json.loads(shown["output"]) == json.loads(wanted)
    digest = ask(place, BOARD, "fs", "hash", "path=/tg/config.json")
    assert digest["size"] == shown["size"] == ask(place, BOARD, "fs", "stat", "path=/tg/config.json")["size"]
    for path in ("/tg/credentials.json", "/tg/../tg//credentials.json", "tg/key", "/tg/claim", "/tg/client-key.der"):
        for opcode in ("cat", "hash"):
            assert "secret" in refused(place, BOARD, "fs", opcode, f"path={path}")


# ---------------------------------------------------------------- settings


def test_settings_take_effect_and_survive_a_reset(place: Installation) -> None:
    answer = ask(place, BOARD, "config", "set", "telemetry_period_s=3", "log_level=debug", "streams.env.window=2")
    assert answer["settings"]["telemetry_period_s"] == 3 and answer["settings"]["log_level"] == "debug"
    assert answer["restart"] is True and len(answer["digest"]) == 8
    assert ask(place, BOARD, "log", "tail")["level"] == "debug"
    assert ask(place, BOARD, "sensors")["env"]["period_ms"] == 3000
    born = place.api.device(BOARD)["nonce"]
    ask(place, BOARD, "reboot")
    place.wait("the restart", lambda: place.api.device(BOARD)["nonce"] != born, 60)
    assert ask(place, BOARD, "info")["reset_cause"] == "hard"
    again = ask(place, BOARD, "config", "get")
    assert again["settings"] == answer["settings"] and again["digest"] == answer["digest"] and not again["restart"]


@pytest.mark.parametrize("begun", [False, True])
def test_a_command_before_the_reset(place: Installation, begun: bool) -> None:
    # Both are signed for the boot that ends: nobody could carry them out after it.
    device = place.api.device(BOARD)
    mark = len(place.boards[0].lines)
    sender = Sender(place.api, [place.key("command")])
    asked = [sender.send(device, Request("reboot", {}))]
    if begun:
        place.boards[0].wait_line("command reboot", 60, mark)
    asked += [sender.send(device, Request(opcode, {})) for opcode in ("mem", "gc")]
    told = [list(follow(place.api, one, 60))[-1] for one in asked]
    assert [one["outcome"] for one in told] == ["done"] * 3, told
    back = list(restarts.await_back(place.api, told[:1], 60))[-1]
    assert back[BOARD]["nonce"] != device["nonce"] and back[BOARD]["reset_cause"] == "hard"
    assert not restarts.is_under_way(back[BOARD], told)
    assert ask(place, BOARD, "ping")["uptime_s"] >= 0


def test_settings_are_refused_as_a_whole(place: Installation) -> None:
    before = ask(place, BOARD, "config", "get")
    for bad in ("telemetry_period_s=0", "log_level=loud", "mqtt.host=evil", "dangerous=true", "streams.nope.window=1"):
        why = refused(place, BOARD, "config", "set", "trial_timeout_s=77", bad)
        assert bad.split("=")[0] in why
    assert ask(place, BOARD, "config", "get") == before
    reset = ask(place, BOARD, "config", "reset")
    assert reset["changed"] == {} and reset["digest"] == "" and reset["settings"]["telemetry_period_s"] == 2


# ---------------------------------------------------------------- crashes


def test_an_exception_is_told_with_its_trace(place: Installation) -> None:
    alarm = crash(place, BOARD, "call.agent.telemetry.poll=5")
    assert alarm["reason"] == "TypeError"
    assert "task sample" in alarm["trace"] and "pipeline.py" in alarm["trace"] and "command exec" in alarm["trace"]
    words = ("cmd", "send", BOARD, "log", "tail", "n=100", "--key", place.key("command"), "--wait", "60")
    assert "I command exec" in place.tidegate(*words)


def test_a_stuck_task_is_named(place: Installation) -> None:
    # The task that the test before broke rests between its failures: it cannot be stuck until the board has restarted.
    place.tidegate("cmd", "send", BOARD, "reboot", "--key", place.key("command"), "--wait", "120")
    code = "[b for b in call.agent.supervisor.beats if b.name=='sample'][0].limit_s=-90"
    alarm = crash(place, BOARD, code, "watchdog")
    assert alarm["reason"] == "watchdog" and "task sample" in alarm["detail"] and "task sample" in alarm["trace"]


def test_a_hang_is_told(place: Installation) -> None:
    alarm = crash(place, BOARD, "while True: pass")
    assert alarm["reason"] == "watchdog"


def test_a_hard_fault_is_told(place: Installation) -> None:
    alarm = crash(place, BOARD, "import machine; machine.mem32[0xF0000000]")
    assert alarm["reason"] == "hard-fault" and "pc" in alarm["trace"]


def test_an_exception_on_the_gateway(gateway: Installation) -> None:
    alarm = crash(gateway, GATEWAY, "call.agent.telemetry.poll=5")
    assert alarm["reason"] == "TypeError" and "task sample" in alarm["trace"]


def test_a_gateway_that_was_killed_says_so(gateway: Installation) -> None:
    code = "import ffi; c=ffi.open(None); c.func('i','kill','ii')(c.func('i','getpid','')(), 9)"
    alarm = crash(gateway, GATEWAY, code)
    assert alarm["reason"] == "reset" and "slot A" in alarm["trace"]
