"""`tidegate simulate` against a real server: 50 devices, with the broker inside and with mosquitto."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mosquitto_process import Mosquitto, write_files
from patience import limit
from server_process import ServerProcess
from simulate_process import Simulation

from tidegate.simulate import accounts
from tidegate.trust import keys

DEVICES = 50
SCENARIO = """\
seed = 4

[fleet]
image_bytes = 5000
sign_s = 1

[misbehaving]
bad_link = 0.1
rolls_back = 0.1
hangs = 0.06
silent = 0.06

[bad_link]
latency_ms = 50
jitter_ms = 100
breaks_every_s = 4

[update]
apply_s = 0.2
restart_s = 0.2
trial_s = 0.2
hang_s = 2
interrupted = 0.3

[[phases]]
kind = "connect"
over_s = 1

[[phases]]
kind = "telemetry"
rate = 40
seconds = 4

[[phases]]
kind = "release"
key = "release.jwk"
patch = true
rate = 10

[[phases]]
name = "questions"
kind = "commands"
key = "command.jwk"
count = 8
per_s = 8
"""
SHORT = '[[phases]]\nkind = "connect"\nover_s = 1\n[[phases]]\nkind = "telemetry"\nrate = 20\nseconds = 600\n'


@pytest.fixture
def place(tmp_path: Path, ring) -> Path:
    """A folder with the keys that the scenario names."""
    keys.save(ring.release, tmp_path / "release.jwk")
    keys.save(ring.command, tmp_path / "command.jwk")
    return tmp_path


def check(figures: dict[str, Any], server: ServerProcess) -> None:
    """That the figures say what the server has, and that devices misbehaved as they were to."""
    phases = {one["name"]: one for one in figures["phases"]}
    faults = figures["faults"]
    assert figures["complete"] and not figures["interrupted"] and figures["devices"] == DEVICES
    assert set(faults) == {"good", "bad_link", "rolls_back", "hangs", "silent"}, "the seed has some of each"
    assert phases["connect"]["shown"] == DEVICES and phases["connect"]["messages"]["birth"]["acknowledged"] >= DEVICES
    release = phases["release"]
    failed = faults["rolls_back"] + faults["hangs"]
    assert release["counts"]["rolled_back"] == failed
    assert release["counts"]["confirmed"] == DEVICES - failed - faults["silent"]
    assert release["counts"]["fetches_cut_off"] >= 1 and release["patch"]
    assert phases["questions"]["messages"]["result"]["acknowledged"] >= 8
    assert phases["telemetry"]["times"]["telemetry acknowledged"]["p99_ms"] > 0
    assert phases["telemetry"]["processes"]["server"]["cpu_s"] > 0
    assert phases["connect"]["times"]["acknowledged until shown"]["count"] >= 1
    filed = figures["filed"]
    assert filed["lost"] == 0 and filed["acknowledged"] == filed["filed"] > 100 and filed["devices_checked"] == DEVICES

    shown = server.api("GET", "/devices", params={"limit": 500})["devices"]
    assert len(shown) == DEVICES and all(one["birth_proof"] for one in shown), "births are signed"
    running = [one for one in shown if one["sequence"] == release["sequence"] and not one["trial"]]
    assert len(running) == release["counts"]["confirmed"]
    ended = [one["update"]["phase"] for one in shown if one["update"]]
    assert ended.count("rolled-back") == failed
    one = server.shown(running[0]["id"])
    phases_said = [report["phase"] for report in reversed(one["reports"])]
    assert phases_said[-6:] == ["offered", "fetching", "applying", "installed", "trial", "confirmed"]


def test_fifty_devices_and_the_broker_inside(start: Callable[..., ServerProcess], place: Path) -> None:
    server = start()
    simulation = Simulation(place, server, SCENARIO, "--devices", str(DEVICES), "--processes", "2", "--json")
    figures = simulation.ends()
    assert json.loads(simulation.printed) == figures
    check(figures, server)
    assert (place / "devices.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.broker
def test_fifty_devices_and_mosquitto(start: Callable[..., ServerProcess], place: Path) -> None:
    folder = place / "mosquitto"
    write_files(folder, place / "data")
    broker = Mosquitto(folder)
    try:
        server = start("--broker", f"mqtt://tidegate_server@127.0.0.1:{broker.port}", "--mosquitto", str(folder))
        simulation = Simulation(place, server, SCENARIO, "--devices", str(DEVICES))
        check(simulation.ends(), server)
        for words in ("Messages", "acknowledged until shown", "confirmed", "0 lost"):
            assert words in simulation.printed
    finally:
        broker.stop()


def test_ctrl_c_ends_it_with_the_figures_so_far(start: Callable[..., ServerProcess], place: Path) -> None:
    server = start()
    simulation = Simulation(place, server, SHORT, "--devices", "5")
    deadline = time.monotonic() + limit(30)
    while not any(stream["stream"] == "env" for one in registered(place) for stream in server.shown(one)["streams"]):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(simulation.process.pid, signal.SIGINT)  # as a terminal does it: to all processes
    figures = simulation.ends(130)
    assert figures["interrupted"] and not figures["complete"] and figures["filed"] is None
    assert [one["ended"] for one in figures["phases"]] == ["all are shown", "interrupted"]
    assert figures["phases"][1]["messages"]["telemetry"]["acknowledged"] > 0
    assert not list(Path("/proc").glob(f"{simulation.process.pid}/task"))

    # The next run takes the same devices, and another file with the same names is refused with what to do.
    before = (place / "devices.json").read_bytes()
    again = Simulation(place, server, SHORT.replace("600", "1"), "--devices", "5").ends()
    assert again["complete"] and (place / "devices.json").read_bytes() == before
    (place / "devices.json").unlink()
    other = Simulation(place, server, SHORT, "--devices", "5")
    complained = other.process.communicate(timeout=limit(60))[1]
    assert other.process.returncode == 1 and "already registered" in complained and "--prefix" in complained


def registered(place: Path) -> list[str]:
    return list(accounts.load(place / "devices.json").accounts)
