"""fleet.yaml is read strictly: what it does not mean to say is an error with its line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.errors import TidegateError
from tidegate.fleet import FleetFile, load_file, make_plan
from tidegate.fleet.file import MAX_SIZE

GOOD = """\
product: tidegate-gateway
groups:
  default:
    channel: stable
  canary:
    channel: candidate
    devices: [gate-1, Kitchen.2]
    settings:
      telemetry_period_s: 30
      log_level: debug
      streams:
        env: {period_ms: 5000, over: {temperature: 80.5}}
      store.drop: oldest
  held:
    release: "1.10"
    devices: []
  later:
"""


def read(folder: Path, text: str | bytes) -> FleetFile:
    path = folder / "fleet.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_file(path)


def test_everything_a_file_can_say(tmp_path: Path) -> None:
    file = read(tmp_path, GOOD)
    assert file.product == "tidegate-gateway" and list(file.groups) == ["default", "canary", "held", "later"]
    canary = file.groups["canary"]
    assert canary.channel == "candidate" and canary.devices == {"gate-1": 7, "Kitchen.2": 7} and canary.line == 6
    assert canary.settings == {
        "telemetry_period_s": 30,
        "log_level": "debug",
        "streams.env.period_ms": 5000,
        "streams.env.over.temperature": 80.5,
        "store.drop": "oldest",
    }
    assert file.groups["held"].release == "1.10" and file.groups["held"].devices == {}
    later = file.groups["later"]
    assert (later.channel, later.release, later.devices, later.settings) == (None, None, None, None)
    assert file.groups["default"].settings is None


# What stands in the place of X in the line named.
@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "empty"),
        ("- a\n", 1, "must be a mapping"),
        ("product: p\n", 1, "no groups"),
        ("groups: {}\nversion: 1\n", 2, "no 'version'"),
        ("groups:\n  a:\n    chanel: x\n", 3, "no 'chanel'"),
        ("groups:\n  a: {}\n  b: {}\n  a: {}\n", 4, "a is given twice, first in line 2"),
        ("groups:\n  a:\n    channel: x\n    channel: x\n", 4, "twice, first in line 3"),
        ("groups:\n  Big One: {}\n", 2, "not a valid group name"),
        ("groups:\n  a: [1]\n", 2, "group a must be a mapping"),
        ("groups:\n  a:\n    channel: [x]\n", 3, "must be text"),
        ("groups:\n  a:\n    channel: yes\n", 3, "Put it in quotes"),
        ("groups:\n  a:\n    release: 1.10\n", 3, "1.1 is not. Put it in quotes"),
        ("groups:\n  a:\n    release: 2026-01-02\n", 3, "Put it in quotes"),
        ("groups:\n  a:\n    release: '../../x'\n", 3, "not a valid version"),
        ("groups:\n  a:\n    channel: x\n    release: '1.0'\n", 4, "a channel and a release"),
        ("groups:\n  a:\n    devices: gate-1\n", 3, "must be a list"),
        ("groups:\n  a:\n    devices:\n    - g\n    - 7\n", 5, "7 is not. Put it in quotes"),
        ("groups:\n  a:\n    devices:\n    - g\n    - g\n", 5, "listed already, in group a"),
        ("groups:\n  a:\n    devices: [g]\n  b:\n    devices:\n    - g\n", 6, "listed already, in group a"),
        ("groups:\n  default:\n    devices: [g]\n", 3, "group default has no list"),
        ("groups:\n  a:\n    settings:\n      log_level: loud\n", 4, "one of error, info, debug"),
        ("groups:\n  a:\n    settings:\n      log_level: [debug]\n", 4, "one of error, info, debug"),
        ("groups:\n  a:\n    settings:\n      telemetry_period_s: '30'\n", 4, "a whole number from 1 to 86400"),
        ("groups:\n  a:\n    settings:\n      telemetry_period_s: true\n", 4, "a whole number"),
        ("groups:\n  a:\n    settings:\n      telemetry_period_s: 0\n", 4, "a whole number"),
        ("groups:\n  a:\n    settings:\n      streams: {env: {over: {t: .nan}}}\n", 4, "must be a number"),
        ("groups:\n  a:\n    settings:\n      streams: {env: {over: {t: .inf}}}\n", 4, "must be a number"),
        ("groups:\n  a:\n    settings:\n      mqtt: {host: evil}\n", 4, "mqtt.host is not a setting"),
        ("groups:\n  a:\n    settings:\n      dangerous: true\n", 4, "dangerous is not a setting"),
        ("groups:\n  a:\n    settings:\n      store: {drop: a}\n      store.drop: b\n", 5, "first in line 4"),
        ("groups:\n  a: &x {}\n  b: *x\n", 3, "aliases"),
        ("groups:\n  a:\n    channel: !!python/name:os.system x\n", 3, "cannot be read"),
        ("groups:\n  a:\n    channel: !!binary '%%%'\n", 3, "cannot be read|must be text"),
        ("groups:\n  1: {}\n", 2, "the key '1' is not text"),
        ("groups:\n  2026-13-32: {}\n", 2, "cannot be read"),
        ("groups:\n  a:\n  !!int b: {}\n", 3, "cannot be read"),
        ("groups: !!bool perhaps\n", 1, "cannot be read"),
        ("groups:\n  a: {channel: x\n", 3, "not valid YAML"),
        ("groups: {}\n---\ngroups: {}\n", 2, "not valid YAML"),
        ("groups:\n\ta: {}\n", 2, "not valid YAML"),
        (b"groups:\n  \xff: {}\n", 2, "not UTF-8"),
        ("groups: {a: {settings: " + "{a: " * 12 + "1" + "}" * 14 + "\n", 1, "too deeply"),
        ("groups: " + "[" * 5000, 1, "not valid YAML|too deeply"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str | bytes, line: int, words: str) -> None:
    with pytest.raises(TidegateError) as caught:
        read(tmp_path, text)
    said = str(caught.value)
    assert f"fleet.yaml, line {line}: " in said, said
    assert re.search(words, said), said


def test_a_file_that_is_not_there_or_endless(tmp_path: Path) -> None:
    with pytest.raises(TidegateError, match="does not exist"):
        load_file(tmp_path / "none.yaml")
    with pytest.raises(TidegateError, match="longer than"):
        read(tmp_path, "#" * (MAX_SIZE + 1))


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=200), st.text("groups:\n {}[]a-&*!|>'\"#,:\t1.", max_size=120)))
def test_any_text_is_a_file_or_one_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    try:
        read(folder, text.encode("utf-8", "surrogatepass"))
    except TidegateError as error:
        assert re.search(r"fleet\.yaml, line \d+: ", str(error))


class Reading:
    """The reading half of a server, with what it would answer."""

    def __init__(self, groups: list[dict], devices: list[dict]):
        self._groups, self._devices = groups, devices

    def groups(self) -> dict:
        return {"digest": "d", "groups": self._groups}

    def devices(self) -> dict:
        return {"devices": self._devices}

    def rollout(self, product: str, version: str) -> dict:
        return {"product": product, "version": version, "sequence": 3}


def device(device_id: str, group: str = "default", **other: object) -> dict:
    return {"id": device_id, "name": None, "group": group, "online": True, "settings": None, "revoked": None, **other}


DEFAULT = {"name": "default", "channel": "stable", "release": None, "settings": {}, "devices": 0}


def test_devices_named_twice_by_id_and_name_or_not_known(tmp_path: Path) -> None:
    api = Reading([DEFAULT], [device("gate-1", name="Roof")])
    file = read(tmp_path, "groups:\n  a:\n    devices:\n    - gate-1\n    - Roof\n")
    with pytest.raises(TidegateError, match=r"line 5: Roof is device gate-1, which is listed already, in group a"):
        make_plan(file, api, "p")  # type: ignore[arg-type]
    file = read(tmp_path, "groups:\n  a:\n    devices:\n    - gate-9\n")
    with pytest.raises(TidegateError, match="line 4: the server does not know a device gate-9"):
        make_plan(file, api, "p")  # type: ignore[arg-type]


def test_what_a_file_says_nothing_of_stays(tmp_path: Path) -> None:
    held = {**DEFAULT, "name": "held", "release": {"product": "p", "version": "1", "sequence": 1}}
    devices = [device("g-1", "held"), device("g-2", "other"), device("g-3", revoked="now")]
    api = Reading([DEFAULT, held], devices)
    assert make_plan(read(tmp_path, "groups:\n  held:\n"), api, "p").is_empty  # type: ignore[arg-type]
    plan = make_plan(read(tmp_path, "groups:\n  held: {devices: []}\n"), api, "p")  # type: ignore[arg-type]
    assert plan.moves == {"g-1": "default"} and plan.groups == {}
    plan = make_plan(read(tmp_path, "groups:\n  held: {channel: stable}\n"), api, "p")  # type: ignore[arg-type]
    assert plan.groups == {"held": {"release": None}}, "to follow a channel is to be pinned no more"
    plan = make_plan(read(tmp_path, "groups:\n  held: {release: '1'}\n"), api, "p")  # type: ignore[arg-type]
    assert plan.groups == {"held": {"release": {"product": "p", "version": "1"}}}, "1 was published again, as number 3"
    text = "groups:\n  default: {settings: {log_level: debug}}\n  held: {settings: {telemetry_period_s: 5}}\n"
    plan = make_plan(read(tmp_path, text), api, "p")  # type: ignore[arg-type]
    assert [(one.device, one.declared) for one in plan.settings] == [("g-1", {"telemetry_period_s": 5})], "revoked: not"


def test_numbers_as_a_board_has_them_are_no_difference(tmp_path: Path) -> None:
    has = {"streams.env.over.temperature": 80.0999984741211, "log_level": "info", "telemetry_period_s": 30}
    api = Reading([DEFAULT], [device("g-1", settings=has)])
    text = "groups:\n  default:\n    settings: {streams: {env: {over: {temperature: 80.1}}}, telemetry_period_s: %d}\n"
    assert make_plan(read(tmp_path, text % 30), api, "p").settings == []  # type: ignore[arg-type]
    changed = make_plan(read(tmp_path, text % 31), api, "p").settings  # type: ignore[arg-type]
    assert changed[0].keys == {"telemetry_period_s": (30, 31)}
