"""kill -9 of the server at random moments of ingest, publishing, rollouts and commands: nothing is lost.

A handful of kills of two kinds; `make soak` (TIDEGATE_FULL=1) has 300 of four. The seed is printed when a test fails,
and TIDEGATE_SEED repeats its moments.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from invariants import check, settle
from killable_server import KillableServer
from mosquitto_process import Mosquitto, write_files
from patience import until
from witnesses import SCENARIO, Fleet, Notes, Operator, accounts_of

from tidegate.simulate import images
from tidegate.simulate.scenario import parse

pytestmark = [pytest.mark.soak, pytest.mark.broker]
FULL = bool(os.environ.get("TIDEGATE_FULL"))
KINDS = [("sqlite", "inside"), ("postgresql", "mosquitto"), ("sqlite", "mosquitto"), ("postgresql", "inside")]
KILLS = 75 if FULL else 3  # of each kind
DEVICES = 4
FLEET = parse(SCENARIO, "the witnesses").fleet
SEED = int(os.environ.get("TIDEGATE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)


@contextlib.contextmanager
def broker_of(kind: str, data: Path, folder: Path, env: dict[str, str]) -> Iterator[tuple[int | None, list[str]]]:
    """(port, arguments of the server); None for the broker inside."""
    if kind == "inside":
        yield None, []
        return
    write_files(folder, data, env={**os.environ, **env})
    broker = Mosquitto(folder)
    try:
        url = f"mqtt://tidegate_server@127.0.0.1:{broker.port}"
        yield broker.port, ["--broker", url, "--mosquitto", str(folder)]
    finally:
        broker.stop()


@pytest.mark.parametrize(("database", "kind"), KINDS if FULL else KINDS[:2], indirect=["database"])
def test_what_was_acknowledged_survives(database, kind: str, data: Path, tmp_path: Path, ring) -> None:
    print(f"TIDEGATE_SEED={SEED}")
    dice, notes = random.Random(SEED), Notes()
    with broker_of(kind, data, tmp_path / "mosquitto", database) as (port, arguments):
        server = KillableServer(data, "--trust", str(ring.trust), *arguments, env=database).start()
        with server.client() as api:
            accounts = accounts_of(api, DEVICES)
            fleet = Fleet(accounts, server.url, port or server.mqtt_port, images.running(FLEET, 1), notes)
        operator = Operator(server.client, ring.release, ring.command, fleet, notes, SEED)
        try:
            fleet.talking = True
            operator.start()
            for number in range(KILLS):
                if number % 3 == 2:  # also while it starts
                    time.sleep(dice.uniform(0, 1.5))
                else:
                    server.wait_ready()
                    time.sleep(dice.uniform(0.05, 3))
                server.kill()
                server.spawn()
            server.wait_ready()
            until("an answer to each act", lambda: notes.commands and notes.releases and notes.devices, 60)
            operator.stop()
            settle(server, fleet)
            counted = check(server, fleet, notes)
        finally:
            operator.end()
            fleet.stop()
            server.kill()
    print(KILLS, "kills", counted, dict(notes.refusals))
    assert counted["packs"] > 10 * KILLS and counted["reports"] > KILLS, counted
    assert counted["reports twice"] == counted["alarms twice"] == 0, counted
