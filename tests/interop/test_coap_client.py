"""The device's CoAP client through ETSI's cases, against aiocoap and libcoap."""

from __future__ import annotations

import subprocess
import sys

import coap_cases
import pytest
from coap_relay import Relay
from conftest import HERE, Serve, device, program

AIOCOAP = [case for case in coap_cases.CASES if case not in coap_cases.REASONS[coap_cases.CLIENT_AIOCOAP]]
LIBCOAP = [case for case in coap_cases.CASES if case not in coap_cases.REASONS[coap_cases.CLIENT_LIBCOAP]]
BEYOND = ("resumed", "resumed_from_the_beginning", "echo", "no_response", "together")
TIMEOUT_S = 90


@pytest.fixture(scope="module")
def aiocoap_server(serve: Serve) -> int:
    return serve([sys.executable, str(HERE / "coap_aiocoap_server.py"), "{port}"])


@pytest.fixture(scope="module")
def libcoap_server(serve: Serve) -> int:
    return serve([program("coap-server-notls"), "-A", "127.0.0.1", "-p", "{port}", "-d", "100"])


def client(script: str, case: str, ground: str, *ports: int) -> None:
    command = device(script, case, "127.0.0.1", *ports, ground=ground)
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.stdout.endswith("done\n"), done.stdout + done.stderr


@pytest.mark.parametrize("ground", ("unix", "cpython"))
@pytest.mark.parametrize("case", AIOCOAP)
def test_against_aiocoap(case: str, ground: str, aiocoap_server: int) -> None:
    with Relay(aiocoap_server, coap_cases.losses(case)) as relay:
        client("coap_device_client.py", case, ground, relay.port)
        look(case, relay)


@pytest.mark.parametrize("case", LIBCOAP)
def test_against_libcoap(case: str, libcoap_server: int) -> None:
    with Relay(libcoap_server, coap_cases.losses(case)) as relay:
        client("coap_device_client_libcoap.py", case, "unix", relay.port, libcoap_server)
        look(case, relay)


@pytest.mark.parametrize("case", BEYOND)
def test_beyond_etsi(case: str, aiocoap_server: int) -> None:
    client("coap_device_client.py", case, "unix", aiocoap_server)


@pytest.mark.parametrize("ground", ("unix", "cpython"))
@pytest.mark.parametrize("case", ("once", "block_01", "block_03", "block_05", "obs_13", "resumed_late"))
def test_over_a_bad_network(case: str, ground: str, aiocoap_server: int) -> None:
    """One packet in eight is lost, one comes twice, one late: bodies are whole, requests carried out once."""
    seed = len(case)
    with Relay(aiocoap_server, loss=1 / 8, repeat=1 / 8, delay=1 / 8, seed=seed) as relay:
        client("coap_device_client.py", case, ground, relay.port)
        assert any(packet.lost for packet in relay.packets)


def look(case: str, relay: Relay) -> None:
    """What passed is what the case is about."""
    check = coap_cases.SEEN.get(case)
    if check:
        try:
            check(relay.packets)
        except AssertionError as error:
            raise AssertionError(f"{error}\non the wire:\n" + "\n".join(relay.transcript)) from error
