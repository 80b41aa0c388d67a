"""Four server processes on PostgreSQL, a broker of two nodes and a witness; each of the seven is killed in turn.

TIDEGATE_SEED repeats order and moments, TIDEGATE_ROUNDS how often each is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from pathlib import Path

import databases
import programs
import pytest
from balancer import Balancer
from invariants import check, settle
from patience import until
from ports import free_port
from rabbit_cluster import SERVERS, RabbitCluster, definitions
from role_processes import DOWNLINK, FIRST, OPTIONS, SECOND, WEB, Processes
from witnesses import SCENARIO, Fleet, Notes, Operator, accounts_of

from tidegate.simulate import images
from tidegate.simulate.scenario import parse

pytestmark = [pytest.mark.soak, pytest.mark.broker]
ROUNDS = int(os.environ.get("TIDEGATE_ROUNDS", "1"))
DEVICES = 4
SEED = int(os.environ.get("TIDEGATE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)


@pytest.mark.skipif(not os.environ.get("TIDEGATE_FULL"), reason="make soak: three nodes of RabbitMQ start slowly")
@pytest.mark.skipif(programs.find("rabbitmq-server") is None, reason="Debian: apt-get install rabbitmq-server")
@pytest.mark.skipif(programs.find("initdb") is None, reason="Debian: apt-get install postgresql")
def test_two_nodes_of_a_broker_and_four_processes_are_killed(tmp_path: Path, ring) -> None:
    print(f"TIDEGATE_SEED={SEED}")
    dice, notes = random.Random(SEED), Notes()
    ports = [free_port(), free_port()]
    place = ("--http", f"127.0.0.1:{free_port()}", "--trust", str(ring.trust))
    with contextlib.ExitStack() as running:
        server = Processes(tmp_path, running.enter_context(databases.postgresql(durable=True)), ports, *place)
        running.callback(server.stop)
        server.start(WEB)
        with server.client() as api:
            accounts = accounts_of(api, DEVICES)
        password = (server.data / "broker.password").read_text().strip()
        users = {account.id: account.password for account in accounts}
        broker = RabbitCluster(tmp_path / "rabbit", password, users, ports)
        running.callback(broker.stop)
        broker.start()
        for name in (FIRST, SECOND, DOWNLINK):
            server.start(name)
        balancer = Balancer(ports)
        running.callback(balancer.stop)
        image = images.running(parse(SCENARIO, "the witnesses").fleet, 1)
        fleet = Fleet(accounts, server.url, balancer.port, image, notes)
        running.callback(fleet.stop)
        until("a connection of each device", lambda: all(device.is_online for device in fleet.devices), 60)
        fleet.talking = True
        operator = Operator(server.client, ring.release, ring.command, fleet, notes, SEED)
        running.callback(operator.end)
        operator.start()
        for _ in range(ROUNDS):
            for name in dice.sample([*OPTIONS, *SERVERS], len(OPTIONS) + len(SERVERS)):
                time.sleep(dice.uniform(0.5, 3))
                if name in OPTIONS:
                    server.kill(name)
                    server.start(name)
                else:
                    broker.kill(name)
                    more_packs(notes, 20)  # the other two go on
                    broker.spawn(name)
                    broker.wait(name)
        until("an answer to each act", lambda: notes.commands and notes.releases and notes.devices, 60)
        operator.stop()
        settle(server, fleet, 120)
        counted = check(server, fleet, notes)
    print(counted, dict(notes.refusals), dict(balancer.taken))
    assert all(balancer.taken[port] for port in ports), "devices were at both nodes"
    assert counted["packs"] > 20 * len(SERVERS) * ROUNDS and counted["devices confirmed"] == DEVICES, counted
    assert counted["reports twice"] == counted["alarms twice"] == 0, counted


def more_packs(notes: Notes, count: int) -> None:
    """Until so many more are acknowledged to each device."""
    before = {device: len(packs) for device, packs in notes.packs.items()}
    until("more packs", lambda: all(len(notes.packs[one]) >= had + count for one, had in before.items()), 120)


def test_the_page_shows_the_rights_that_are_tested() -> None:
    page = (Path(__file__).parents[2] / "docs/brokers.md").read_text()
    shown = json.loads(page.partition("```json\n")[2].partition("```")[0])
    users = {"gw-1": "what tidegate device add --json said"}
    assert shown == definitions("what is in DATA/broker.password", users)
