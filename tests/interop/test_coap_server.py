"""The device's CoAP server through ETSI's cases, against aiocoap and libcoap's coap-client."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import coap_aiocoap_client
import coap_cases
import programs
import pytest
from coap_processes import AtOnce, Serve, device, serving
from coap_relay import Lose, Packet, Relay
from patience import limit

AIOCOAP = [case for case in coap_cases.CASES if case not in coap_cases.REASONS[coap_cases.SERVER_AIOCOAP]]
LIBCOAP = [case for case in coap_cases.CASES if case not in coap_cases.REASONS[coap_cases.SERVER_LIBCOAP]]
OWN = [
    case for case in coap_cases.CASES if case.startswith(("core", "block", "obs")) and case not in ("obs_04", "obs_05")
]
ON_CPYTHON = (
    "core_01",
    "core_05",
    "core_16",
    "core_22",
    "core_31",
    "block_01",
    "block_05",
    "obs_01",
    "obs_13",
    "link_02",
)
BEYOND = ("together", "echo", "limits", "no_response")
LARGE = coap_aiocoap_client.LARGE
TIMEOUT_S = limit(40)
HASTE_S = 0.1  # the server's, so that it gives a silent client up soon


@pytest.fixture(scope="module")
def unix_server(serve: Serve) -> int:
    return serve(device("coap_device_server.py", "{port}"))


@pytest.fixture(scope="module")
def hasty_server(serve: Serve) -> int:
    return serve(device("coap_device_server.py", "{port}", "127.0.0.1", HASTE_S))


@pytest.fixture(scope="module")
def cpython_server(serve: Serve) -> int:
    return serve(device("coap_device_server.py", "{port}", ground="cpython"))


def silent(packet: Packet) -> bool:
    """Loses what comes from the client once it is registered."""
    return packet.up and packet.index > 0


@contextlib.contextmanager
def own_server(case: str, folder: Path, lose: Lose | None = None) -> Iterator[tuple[Relay, int]]:
    """A server of one's own, so that many can be talked to at once, and a relay before it."""
    haste = ("127.0.0.1", HASTE_S) if case in coap_cases.HASTY else ()
    command = device("coap_device_server.py", "{port}", *haste)
    with serving(command, folder / "output") as server, Relay(server.port, lose) as relay:
        yield relay, server.port


def aiocoap(case: str, server: int) -> None:
    with Relay(server, silent if case == "obs_05" else coap_cases.losses(case)) as relay:
        run(case, relay.port, server)
        coap_cases.look(case, relay)


@pytest.mark.parametrize("case", AIOCOAP)
def test_against_aiocoap(case: str, unix_server: int, hasty_server: int) -> None:
    aiocoap(case, hasty_server if case in coap_cases.HASTY else unix_server)


@pytest.mark.parametrize("case", ON_CPYTHON)
def test_against_aiocoap_on_cpython(case: str, cpython_server: int) -> None:
    aiocoap(case, cpython_server)


@pytest.mark.parametrize("case", BEYOND)
def test_beyond_etsi(case: str, unix_server: int) -> None:
    run(case, unix_server, unix_server)


@pytest.mark.parametrize("case", ("once", "block_01", "block_03", "block_05", "obs_13"))
def test_over_a_bad_network(case: str, request: pytest.FixtureRequest, at_once: AtOnce, hasty_server: int) -> None:
    """One packet in eight is lost, one comes twice, one late."""

    def bad(case: str) -> None:
        with Relay(hasty_server, loss=1 / 8, repeat=1 / 8, delay=1 / 8, seed=len(case)) as relay:
            run(case, relay.port, hasty_server, hasty=True)
            assert relay.disturbed

    at_once(request.node, bad)


@pytest.mark.parametrize("case", OWN)
def test_against_the_devices_own_client(
    case: str, request: pytest.FixtureRequest, at_once: AtOnce, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def own(case: str) -> None:
        with own_server(case, tmp_path_factory.mktemp(case), coap_cases.losses(case)) as (relay, _):
            haste = (coap_cases.HASTE_S,) if case in coap_cases.HASTY else ()
            command = device("coap_device_client.py", case, "127.0.0.1", relay.port, *haste)
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
            assert done.stdout.endswith("done\n"), done.stdout + done.stderr
            coap_cases.look(case, relay)

    at_once(request.node, own)


def run(case: str, port: int, direct: int, hasty: bool = False) -> None:
    context = contextvars.copy_context()
    if hasty or case in coap_cases.HASTY:
        context.run(coap_aiocoap_client.haste.set, coap_cases.HASTE_S)
    context.run(_run, case, port, direct)


def _run(case: str, port: int, direct: int) -> None:
    asyncio.run(asyncio.wait_for(coap_aiocoap_client.CASES[case](port, direct), TIMEOUT_S))


# ---------------------------------------------------------------- coap-client


class CoapClient:
    """libcoap's coap-client, a process for each request."""

    def __init__(self, port: int, folder: Path):
        self.program = programs.require("coap-client-notls")
        self.base = f"coap://127.0.0.1:{port}"
        self.folder = folder

    def command(self, path: str, *options: str) -> list[str]:
        return [self.program, "-B", "30", *options, self.base + path]

    def __call__(self, path: str, *options: str) -> bytes:
        """The body of the answer, or the error that coap-client shows."""
        output = self.folder / "output"
        output.unlink(missing_ok=True)
        command = self.command(path, "-o", str(output), *options)
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S)
        assert done.returncode == 0, done.stderr
        return output.read_bytes() if output.exists() else done.stderr

    def file(self, data: bytes) -> str:
        path = self.folder / "input"
        path.write_bytes(data)
        return str(path)


def observe(client: CoapClient, direct: int, path: str, acts: list[str], method: str = "post") -> list[bytes]:
    """Observes for some seconds while `acts` are done; the lines that were seen."""
    output = client.folder / "observed"
    other = CoapClient(direct, client.folder)
    other("/control", "-m", "post", "-e", f"again {path}")
    command = client.command(path, "-w", "-o", str(output), "-s", "5")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as watching:
        try:
            wait_for(lambda: output.exists() and output.read_bytes())
            for act in acts:
                before = whole(output)
                if method == "post":
                    other("/control", "-m", "post", "-e", act)
                else:
                    other(path, "-m", method, *(["-e", act] if act else []))
                wait_for(lambda before=before: output.read_bytes() != before, may_fail=True)
            watching.wait(TIMEOUT_S)
        finally:
            watching.kill()
    return output.read_bytes().split(b"\n")


def whole(output: Path) -> bytes:
    """What was written, once nothing more comes: a large body comes block by block."""
    last = b""
    while (data := output.read_bytes()) != last:
        last = data
        time.sleep(0.2)
    return data


def wait_for(condition, may_fail: bool = False) -> None:
    deadline = time.monotonic() + (1 if may_fail else limit(20))
    while not condition():
        if time.monotonic() > deadline:
            assert may_fail
            return
        time.sleep(0.02)


def libcoap(case: str, client: CoapClient, direct: int) -> None:
    """One of ETSI's cases with coap-client."""
    non = ("-N",) if case in ("core_05", "core_06", "core_07", "core_08", "core_17") else ()
    file = client.file(LARGE)
    if case in ("core_01", "core_05", "core_10", "core_15"):
        assert b"Code: 1" in client("/test", "-m", "get", *non)
    elif case in ("core_02", "core_06"):
        client("/test", "-m", "delete", *non)
    elif case in ("core_03", "core_07"):
        client("/test", "-m", "put", "-e", "something", *non)
    elif case in ("core_04", "core_08", "core_18"):
        client("/test", "-m", "post", "-e", "something", *non)
    elif case in ("core_09", "core_11", "core_16", "core_17"):
        assert client("/separate", *non) == b"it took a while"
    elif case == "core_13":
        assert b"Code: 1" in client("/seg1/seg2/seg3")
    elif case == "core_14":
        assert client("/query?first=1&second=2&third=3") == b"first=1&second=2&third=3"
    elif case == "core_19":
        client("/location-query", "-m", "post", "-e", "new")
    elif case == "core_20":
        assert client("/multi-format", "-A", "0") == b"value 1"
        assert client("/multi-format", "-A", "41") == b"<value>1</value>"
    elif case in ("core_21", "core_22"):
        first = client("/validate")
        with Relay(direct) as relay:
            CoapClient(relay.port, client.folder)("/validate")
            [answer] = coap_cases.responses(relay.packets)
            tag = "0x" + answer.opt.etag.hex()
        if case == "core_21":
            assert b"the first value" not in client("/validate", "-O", f"4,{tag}")
        else:
            client("/validate", "-m", "put", "-e", "changed", "-O", f"1,{tag}")
            assert client("/validate") == b"changed" != first
            assert b"4.12" in client("/validate", "-m", "put", "-e", "too late", "-O", f"1,{tag}")
    elif case == "core_23":
        client("/create1", "-m", "delete")
        client("/create1", "-m", "put", "-e", "new", "-O", "5,")
        assert b"4.12" in client("/create1", "-m", "put", "-e", "newer", "-O", "5,")
        assert client("/create1") == b"new"
    elif case == "core_31":
        subprocess.run(client.command("/obs", "-s", "3", "-K", "1"), capture_output=True, timeout=TIMEOUT_S)
    elif case == "block_01":
        assert client("/large", "-b", "512") == LARGE
    elif case == "block_02":
        assert client("/large") == LARGE
    elif case == "block_06":
        assert client("/large", "-b", "16") == LARGE
    elif case == "block_03":
        client("/large-update", "-m", "put", "-b", "512", "-f", file)
        assert client("/large-update") == LARGE
    elif case == "block_04":
        client("/large-create", "-m", "post", "-b", "512", "-f", file)
    elif case == "block_05":
        assert client("/large-post", "-m", "post", "-b", "512", "-f", file) == LARGE.upper()
    elif case.startswith("link"):
        query, wanted = LINKS[case]
        body = client("/.well-known/core" + query).decode()
        found = {entry.split(">")[0][1:] for entry in body.split(",")}
        assert found == wanted if query else found >= wanted
    elif case in ("obs_01", "obs_11", "obs_12"):
        lines = observe(client, direct, "/obs", ["tick /obs"] * 3)
        assert rising(lines) >= (2 if case == "obs_11" else 4)  # the newest state is what must come through
    elif case == "obs_02":
        assert rising(observe(client, direct, "/obs-non", ["tick /obs-non"] * 3)) >= 4
    elif case == "obs_05":
        assert rising(observe(client, direct, "/obs", ["tick /obs"])) >= 1
        other = CoapClient(direct, client.folder)
        wait_for(lambda: other("/control", "-m", "post", "-e", "observers") == b"0")
    elif case == "obs_07":
        observe(client, direct, "/obs", [""], "delete")
        CoapClient(direct, client.folder)("/control", "-m", "post", "-e", "again /obs")
    elif case == "obs_08":
        observe(client, direct, "/obs", ["format /obs 41"])
        CoapClient(direct, client.folder)("/control", "-m", "post", "-e", "again /obs")
    elif case == "obs_09":
        assert b"4711" in observe(client, direct, "/obs", ["4711"], "put")
    elif case == "obs_13":
        assert rising(observe(client, direct, "/obs-large", ["tick /obs-large"] * 3)) >= 3
    elif case == "obs_14":
        assert rising(observe(client, direct, "/obs-pumping", ["tick /obs-pumping"] * 3)) >= 3
    else:
        raise AssertionError(f"no such case: {case}")


LINKS = {
    "link_01": ("", {"/test", "/large", "/obs", "/link1"}),
    "link_02": ("?rt=Type1", {"/link1", "/link3"}),
    "link_03": ("?rt=*", {"/link1", "/link2", "/link3", "/obs", "/obs-non", "/obs-large", "/obs-pumping"}),
    "link_04": ("?rt=Type2", {"/link1", "/link2"}),
    "link_05": ("?if=If*", {"/link1", "/link2"}),
    "link_06": ("?sz=*", {"/large"}),
    "link_07": ("?href=/link1", {"/link1"}),
    "link_08": ("?href=/link*", {"/link1", "/link2", "/link3"}),
    "link_09": ("?href=/path*", {"/path", "/path/sub1", "/path/sub2"}),
}


def rising(lines: list[bytes]) -> int:
    """How many different numbers the bodies repeat; each line is one body, and they rise."""
    words = [set(line.split()) for line in lines if line.strip()]
    assert all(len(word) == 1 for word in words), lines
    numbers = [int(word.pop()) for word in words]
    assert numbers == sorted(numbers)
    return len(set(numbers))


@pytest.mark.parametrize("case", LIBCOAP)
def test_against_libcoap(
    case: str, request: pytest.FixtureRequest, at_once: AtOnce, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def go(case: str) -> None:
        folder = tmp_path_factory.mktemp(case)
        with own_server(case, folder, silent if case == "obs_05" else coap_cases.losses(case)) as (relay, port):
            libcoap(case, CoapClient(relay.port, folder), port)
            coap_cases.look(case, relay)

    at_once(request.node, go)
