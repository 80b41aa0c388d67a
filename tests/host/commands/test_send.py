"""Sender.send_and_follow: many commands through a server, a bounded number of them at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tidegate import commands
from tidegate.client.transport import ServerError
from tidegate.commands import send
from tidegate.commands.send import Request, Sender
from tidegate.errors import TidegateError
from tidegate.fleet import Setting, change_settings
from tidegate.trust import keys


class Devices:
    """A server as a Sender sees it: each command ends when it has been asked for as often as its device needs."""

    def __init__(self, polls: dict[str, int], unborn: tuple[str, ...] = (), status: int = 0) -> None:
        self.polls, self.unborn, self.status = polls, unborn, status
        self.sent: dict[str, commands.Command] = {}
        self.open: set[str] = set()
        self.most = 0

    def device(self, name: str) -> dict[str, Any]:
        return {"id": name, "nonce": None if name in self.unborn else "00" * 8, "commands": []}

    def send_command(self, name: str, message: bytes) -> dict[str, Any]:
        if self.status:
            raise ServerError("it refuses", "", self.status)
        self.sent[name] = commands.decode(message)[0]
        self.open.add(name)
        self.most = max(self.most, len(self.open))
        return {"device": name, "cti": self.sent[name].cti.hex(), "state": "pending"}

    def command(self, cti: str, name: str) -> dict[str, Any]:
        assert self.sent[name].cti.hex() == cti
        self.polls[name] -= 1
        if self.polls[name] > 0:
            return {"device": name, "cti": cti, "state": "uplinked", "outcome": None}
        self.open.discard(name)
        return {"device": name, "cti": cti, "state": "confirmed", "outcome": "done", "result": {"answer": {}}}


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(send, "POLL_S", 0.001)
    keys.save(keys.new("command"), tmp_path / "command.jwk")
    return tmp_path / "command.jwk"


def sender(server: Devices, *key_files: Path) -> Sender:
    return Sender(server, key_files)  # type: ignore[arg-type]


def test_every_command_ends_and_few_are_under_way(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "AT_ONCE", 3)
    server = Devices({f"g-{n}": 1 + n % 3 for n in range(10)})
    requests = [(name, Request("config.set", {"n": 1})) for name in server.polls]
    ended = list(sender(server, key_file).send_and_follow(requests, 30))
    assert sorted(one["device"] for one in ended) == sorted(server.polls)
    assert all(one["outcome"] == "done" for one in ended) and server.most == 3
    assert len({command.cti for command in server.sent.values()}) == 10


def test_one_that_does_not_answer_is_given_as_it_is(key_file: Path) -> None:
    server = Devices({"fast": 1, "slow": 10**9})
    requests = [(name, Request("config.set", {})) for name in ("slow", "fast")]
    fast, slow = sender(server, key_file).send_and_follow(requests, 0.05)
    assert (fast["device"], fast["outcome"]) == ("fast", "done")
    assert (slow["device"], slow["state"], slow["outcome"]) == ("slow", "uplinked", None)


def test_one_that_cannot_be_sent_holds_up_no_other(key_file: Path) -> None:
    requests = [(name, Request("config.set", {})) for name in ("a", "new", "b")]
    server = Devices({"a": 1, "b": 1}, unborn=("new",))
    new, *others = sender(server, key_file).send_and_follow(requests, 30)
    assert "has never connected" in new["error"] and [one["device"] for one in others] == ["a", "b"]
    server = Devices({"a": 1, "b": 1}, unborn=("new",))
    delay = sender(server, key_file).send_and_follow(requests, 30, lambda one: None if one["nonce"] else "later")
    assert next(delay) == {"device": "new", "delayed": "later"}


@pytest.mark.parametrize(("status", "is_about_the_device"), [(409, True), (401, False), (403, False)])
def test_what_is_not_about_one_device_ends_all(key_file: Path, status: int, is_about_the_device: bool) -> None:
    made = sender(Devices({}, status=status), key_file).send_and_follow([("a", Request("info", {}))], 30)
    if is_about_the_device:
        assert [one["error"] for one in made] == ["it refuses"]
    else:
        with pytest.raises(ServerError):
            list(made)


def test_settings_of_a_fleet(key_file: Path) -> None:
    settings = [
        Setting("away", "default", False, {"log_level": (None, "debug")}),
        Setting("here", "default", True, {"log_level": ("info", "debug")}),
        Setting("slow", "default", True, {"log_level": ("info", "debug")}),
        Setting("new", "default", True, {"log_level": (None, "debug")}),
    ]
    server = Devices({"here": 2, "slow": 10**9}, unborn=("new",))
    seen = []
    made = change_settings(
        sender(server, key_file), settings, 0.2, lambda done, total, name: seen.append((done, total))
    )
    states = {one.device: (one.state, one.why) for one in made}
    assert states == {
        "away": ("waiting", "it is not online"),
        "new": ("waiting", "it has never connected"),
        "here": ("done", None),
        "slow": ("waiting", "it has not answered in time"),
    }
    assert server.sent["here"].arguments == {"log_level": "debug"} and seen[-1] == (3, 3)
    with pytest.raises(TidegateError, match="Name the command key"):
        list(change_settings(None, settings, 1, lambda done, total, name: None))
    assert len(list(change_settings(None, settings[:1], 1, lambda done, total, name: None))) == 1


def test_a_key_of_another_role_changes_no_settings(tmp_path: Path) -> None:
    keys.save(keys.new("diagnose"), tmp_path / "diagnose.jwk")
    Sender(Devices({}), [tmp_path / "diagnose.jwk"])  # type: ignore[arg-type]
    with pytest.raises(TidegateError, match="a command key is needed"):
        Sender(Devices({}), [tmp_path / "diagnose.jwk"], "command")  # type: ignore[arg-type]
