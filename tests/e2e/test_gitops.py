"""`tidegate diff` and `apply`: groups and settings of Linux gateways, with a real server, as a file says.

MicroPython's unix port runs the agent; settings reach it as signed commands and survive its restarts.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import Installation
from lab.processes import BIN
from patience import limit

FIRST, SECOND = "gate-21", "gate-22"
ANSWER_S = 60


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Two gateways; the first runs 1.0.0, the second is switched off."""
    with Installation(tmp_path_factory.mktemp("gitops") / "place", target="unix") as made:
        made.make_keys()
        made.start_server()
        made.copy_source()
        made.build("1.0.0", 1)
        made.publish("1.0.0")
        for name in (FIRST, SECOND):
            made.flash(made.add_gateway(name), name, "1.0.0")
            made.wait_running(name, "1.0.0", 60)
        made.boards[1].power_off()
        made.wait("the second gateway away", lambda: not made.api.device(SECOND)["online"], 60)
        yield made


def write(place: Installation, text: str) -> Path:
    path = place.folder / "fleet.yaml"
    path.write_text(text)
    return path


def fleet(place: Installation, verb: str, *words: str | Path, code: int = 0) -> dict[str, Any]:
    """`tidegate diff` or `apply` on the file, as JSON; the exit code is checked."""
    if verb == "apply":
        words = (*words, "--key", place.key("command"), "--yes")
    return json.loads(place.tidegate(verb, "-f", place.folder / "fleet.yaml", "--json", *words, code=code))


FLEET = f"""\
groups:
  default:
    channel: stable
  roof:
    channel: candidate
    devices: [{FIRST}, {SECOND}]
    settings:
      telemetry_period_s: 7
      log_level: debug
"""


def test_a_fleet_becomes_what_the_file_says(place: Installation) -> None:
    write(place, FLEET)
    told = fleet(place, "diff", code=3)
    assert told["different"] and {"group": "roof", "what": "group", "from": None, "to": "new"} in told["changes"]
    assert {one["device"]: one["online"] for one in told["settings"]} == {FIRST: True, SECOND: False}
    assert place.api.groups()["groups"][0]["name"] == "default", "diff changes nothing"

    applied = fleet(place, "apply", code=3)
    states = {one["device"]: one["state"] for one in applied["results"]}
    assert states == {FIRST: "done", SECOND: "waiting"}
    shown = place.api.device(FIRST)
    assert shown["group"] == "roof" and shown["settings"]["telemetry_period_s"] == 7
    assert shown["settings"]["log_level"] == "debug"
    assert place.api.device(SECOND)["group"] == "roof", "the server's part needs nobody online"

    told = fleet(place, "diff", code=3)
    assert told["changes"] == [] and [one["device"] for one in told["settings"]] == [SECOND]
    place.boards[1].power_on()
    place.wait_running(SECOND, "1.0.0", 60)
    assert fleet(place, "apply")["results"] == [{"device": SECOND, "state": "done", "why": None}]
    commands = len(place.api.commands(100)["commands"])
    found = fleet(place, "diff")
    assert (found["different"], found["changes"], found["settings"]) == (False, [], [])
    assert found["rollouts"] == {"not_declared": [], "start": {}}
    assert fleet(place, "apply")["results"] == []
    assert len(place.api.commands(100)["commands"]) == commands == 2, "applying twice sends nothing"


def test_settings_survive_a_power_cut_and_one_key_is_one_command(place: Installation) -> None:
    born = place.api.device(FIRST)["nonce"]
    place.boards[0].power_cut()
    place.boards[0].power_on()
    place.wait("a birth after the power cut", lambda: place.api.device(FIRST)["nonce"] != born, 60)
    assert fleet(place, "diff")["different"] is False, "the digest in its birth says they are still so"
    write(place, FLEET.replace("period_s: 7", "period_s: 9"))
    told = fleet(place, "diff", code=3)
    assert told["settings"][0]["keys"] == {"telemetry_period_s": {"from": 7, "to": 9}}, "only what differs is sent"
    assert fleet(place, "apply")["different"] is True
    assert place.api.device(SECOND)["settings"]["telemetry_period_s"] == 9
    # Somebody sets it by hand: the file is told from what is.
    place.tidegate("cmd", "send", FIRST, "config", "set", "telemetry_period_s=11", "--key", place.key("command"))
    told = fleet(place, "diff", code=3)
    assert [(one["device"], one["keys"]["telemetry_period_s"]["from"]) for one in told["settings"]] == [(FIRST, 11)]
    fleet(place, "apply")


def test_what_a_device_refuses_is_said_and_leaves_it_as_it_was(place: Installation) -> None:
    before = place.api.device(FIRST)["settings"]
    write(place, FLEET.replace("period_s: 7", "period_s: 9\n      streams: {nonsense: {period_ms: 5000}}"))
    told = fleet(place, "apply", code=1)
    assert {one["state"] for one in told["results"]} <= {"refused", "failed"}
    assert all("nonsense" in one["why"] for one in told["results"]), told["results"]
    assert place.api.device(FIRST)["settings"] == before, "one wrong key: none is set"
    write(place, FLEET.replace("period_s: 7", "period_s: 9"))
    assert fleet(place, "apply")["results"] == []


def test_nobody_is_asked_in_vain_and_nothing_happens_without_a_key(place: Installation) -> None:
    write(place, FLEET.replace("period_s: 7", "period_s: 13").replace("candidate", "nightly"))
    before = place.api.groups()["digest"]
    for words, remedy in (((), "--key FILE"), (("--key", place.key("command")), "add --yes")):
        done = place.run("apply", "-f", place.folder / "fleet.yaml", *words)
        assert done.returncode == 1 and remedy in done.stderr, done.stderr
    done = place.run("apply", "-f", place.folder / "fleet.yaml", "--key", place.key("release"), "--yes")
    assert done.returncode == 1 and "command" in done.stderr
    assert place.api.groups()["digest"] == before
    write(place, FLEET.replace("channel: candidate", "release: 9.9.9"))
    done = place.run("diff", "-f", place.folder / "fleet.yaml")
    assert done.returncode == 1 and "9.9.9 is not published" in done.stderr
    write(place, FLEET.replace("log_level", "mqtt.host"))
    done = place.run("apply", "-f", place.folder / "fleet.yaml", "--yes")
    assert done.returncode == 1 and "line 9: mqtt.host is not a setting" in done.stderr


def test_two_who_apply_at_once_do_not_mix(place: Installation) -> None:
    """Different files, several times, at the same time: in the end all is as one of them says, whole."""
    files = []
    for number in (1, 2):
        path = place.folder / f"fleet-{number}.yaml"
        groups = "".join(f"  g{n}: {{channel: c{number}}}\n" for n in range(6))
        path.write_text(f"groups:\n  roof: {{devices: [{FIRST}, {SECOND}]}}\n{groups}")
        files.append(path)
    for _ in range(3):
        running = [
            subprocess.Popen(
                [BIN / "tidegate", "apply", "-f", path, "--yes"],
                env=place.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for path in files
        ]
        said = [(process.communicate(timeout=limit(ANSWER_S))[1], process.returncode) for process in running]
        assert all(code == 0 or (code == 1 and "meanwhile" in error) for error, code in said), said
        assert any(code == 0 for _, code in said), said
        follows = {one["channel"] for one in place.api.groups()["groups"] if one["name"].startswith("g")}
        assert len(follows) == 1, f"a mixture: {follows}"


def test_ctrl_c_leaves_what_the_next_run_finishes(place: Installation) -> None:
    """The second gateway hangs (it is stopped), so apply waits for it; then somebody loses patience."""
    write(place, FLEET.replace("period_s: 7", "period_s: 15"))
    hung = place.boards[1]
    hung.pause()
    try:
        process = subprocess.Popen(
            [BIN / "tidegate", "apply", "-f", place.folder / "fleet.yaml", "--key", place.key("command"), "--yes"],
            env=place.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        place.wait("the first one set", lambda: period(place, FIRST) == 15, ANSWER_S)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=limit(30))
        assert (process.returncode, error.strip()) == (130, "Interrupted")
    finally:
        hung.go_on()
    place.wait("the second one back", lambda: place.api.device(SECOND)["online"], ANSWER_S)
    deadline = time.monotonic() + limit(ANSWER_S)
    while place.run("apply", "-f", place.folder / "fleet.yaml", "--key", place.key("command"), "--yes").returncode:
        assert time.monotonic() < deadline
    assert (period(place, FIRST), period(place, SECOND)) == (15, 15)
    assert fleet(place, "diff")["different"] is False


def period(place: Installation, device: str) -> Any:
    return (place.api.device(device)["settings"] or {}).get("telemetry_period_s")
