"""The device's CoAP client through ETSI's cases, against aiocoap and libcoap."""

from __future__ import annotations

import subprocess
import sys

import coap_cases
import programs
import pytest
from coap_processes import HERE, AtOnce, Serve, device, serving
from coap_relay import Packet, Relay
from patience import limit

AIOCOAP = [case for case in coap_cases.CASES if case not in coap_cases.REASONS[coap_cases.CLIENT_AIOCOAP]]
LIBCOAP = [case for case in coap_cases.CASES if case not in coap_cases.REASONS[coap_cases.CLIENT_LIBCOAP]]
BEYOND = ("resumed", "resumed_from_the_beginning", "echo", "no_response", "together")
ON_CPYTHON = ("core_01", "core_05", "core_09", "core_16", "core_31", "block_02", "block_05", "obs_01", "obs_13")
TIMEOUT_S = limit(60)


@pytest.fixture(scope="module")
def aiocoap_server(serve: Serve) -> int:
    return serve([sys.executable, str(HERE / "coap_aiocoap_server.py"), "{port}"])


@pytest.fixture(scope="module")
def hasty_server(serve: Serve) -> int:
    return serve([sys.executable, str(HERE / "coap_aiocoap_server.py"), "{port}", str(coap_cases.HASTE_S)])


def client(script: str, case: str, ground: str, *ports: int, haste_s: float = 2) -> None:
    command = device(script, case, "127.0.0.1", *ports, haste_s, ground=ground)
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.stdout.endswith("done\n"), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("case", "ground"), [(case, "unix") for case in AIOCOAP] + [(case, "cpython") for case in ON_CPYTHON]
)
def test_against_aiocoap(case: str, ground: str, aiocoap_server: int, hasty_server: int) -> None:
    hasty = case in coap_cases.HASTY
    with Relay(hasty_server if hasty else aiocoap_server, coap_cases.losses(case)) as relay:
        client("coap_device_client.py", case, ground, relay.port, haste_s=coap_cases.HASTE_S if hasty else 2)
        coap_cases.look(case, relay)


@pytest.mark.parametrize("case", LIBCOAP)
def test_against_libcoap(case: str, request: pytest.FixtureRequest, at_once: AtOnce, tmp_path_factory) -> None:
    def run(case: str) -> None:
        command = [programs.require("coap-server-notls"), "-A", "127.0.0.1", "-p", "{port}", "-d", "10"]
        if case == "obs_02":
            command.append("-N")  # what is observed is told by non-confirmable messages
        with (
            serving(command, tmp_path_factory.mktemp(case) / "output") as server,
            Relay(server.port, coap_cases.losses(case)) as relay,
        ):
            client(
                "coap_device_client_libcoap.py",
                case,
                "unix",
                relay.port,
                server.port,
                haste_s=coap_cases.HASTE_S if case in coap_cases.HASTY else 2,
            )
            coap_cases.look(case, relay)

    at_once(request.node, run)


@pytest.mark.parametrize("case", BEYOND)
def test_beyond_etsi(case: str, aiocoap_server: int) -> None:
    client("coap_device_client.py", case, "unix", aiocoap_server)


def test_an_answer_that_never_comes(hasty_server: int) -> None:
    def lose(packet: Packet) -> bool:
        return packet.up and packet.message.opt.uri_path == ("query",)

    with Relay(hasty_server, lose) as relay:
        client("coap_device_client.py", "away", "unix", relay.port, haste_s=0.1)
        assert len(relay.clients) == 2


@pytest.mark.parametrize("case", ("once", "block_01", "block_03", "block_05", "obs_13", "resumed_late"))
def test_over_a_bad_network(case: str, request: pytest.FixtureRequest, at_once: AtOnce, hasty_server: int) -> None:
    """One packet in eight is lost, one comes twice, one late: bodies are whole, requests carried out once."""

    def run(case: str) -> None:
        with Relay(hasty_server, loss=1 / 8, repeat=1 / 8, delay=1 / 8, seed=len(case)) as relay:
            client("coap_device_client.py", case, "unix", relay.port, haste_s=coap_cases.HASTE_S)
            assert relay.disturbed

    at_once(request.node, run)
