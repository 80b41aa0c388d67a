"""The device's CoAP client and server go on, with the heap they had, whatever a peer sends."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import time
from pathlib import Path

import coap_aiocoap_client
import pytest
from aiocoap import ACK, CON, NON, Code, Message
from coap_bad_peer import Answer, BadServer, encoded, nonsense
from coap_processes import answers, device, serving
from patience import limit

# A longer run for a night: TIDEGATE_COAP_FUZZ=1000000
DATAGRAMS = int(os.environ.get("TIDEGATE_COAP_FUZZ", "6000"))
SLACK = 6000  # bytes of heap: tables that are not full at the first look, on a host with 64-bit objects


def heap(port: int) -> int:
    """Bytes of heap that the device's server has in use, as it says itself."""

    async def ask() -> int:
        async with coap_aiocoap_client.client(port) as c:
            return int((await c.ask(coap_aiocoap_client.GET, "/heap", wanted="2.05")).payload)

    return asyncio.run(ask())


def test_a_server_goes_on_whatever_comes(tmp_path: Path) -> None:
    stream = nonsense(random.Random(7))
    with serving(device("coap_device_server.py", "{port}"), tmp_path / "output") as (port, server):
        levels = []
        for part in range(3):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.connect(("127.0.0.1", port))
                for count in range(DATAGRAMS // 3):
                    sender.send(next(stream))
                    if count % 20 == 19 and not answers(port):  # no faster than it reads
                        assert any(answers(port) for _ in range(20)), (
                            f"silent after {part}, {count}: {server.poll()} {(tmp_path / 'output').read_text()}"
                        )
            assert server.poll() is None, (tmp_path / "output").read_text()
            levels.append(heap(port))
        asyncio.run(coap_aiocoap_client.CASES["core_01"](port, port))
        asyncio.run(coap_aiocoap_client.CASES["block_02"](port, port))
        assert levels[-1] - levels[0] < SLACK, levels
    assert "Traceback" not in (tmp_path / "output").read_text()


def test_a_server_bears_bodies_that_never_end(tmp_path: Path) -> None:
    """Blocks without end, of many bodies at once; each is refused at max_body, and memory stays where it was."""
    with (
        serving(device("coap_device_server.py", "{port}"), tmp_path / "output") as (port, _),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        sender.connect(("127.0.0.1", port))
        sender.settimeout(limit(5))
        before = heap(port)
        codes = set()
        mid = 0
        for body in range(20):
            for number in range(12):
                mid += 1
                path = ("large-update",) if body % 2 else ("large-create",)
                code = Code.PUT if body % 2 else Code.POST
                tag = {"request_tag": (b"%d" % body,)}
                sender.send(encoded(code, bytes(512), mid=mid, uri_path=path, block1=(number, True, 5), **tag))
                codes.add(Message.decode(sender.recv(2048)).code.dotted)
        assert codes == {"2.31", "4.13", "4.08"}
        assert heap(port) - before < 2 * 4096 + 2 * SLACK  # two bodies under way at most


def test_a_server_bounds_its_observers(tmp_path: Path) -> None:
    with serving(device("coap_device_server.py", "{port}"), tmp_path / "output") as (port, _):
        sockets = []
        try:
            accepted = 0
            for n in range(40):
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sock.settimeout(limit(5))
                sock.connect(("127.0.0.1", port))
                sockets.append(sock)
                sock.send(encoded(Code.GET, mid=n, uri_path=("obs",), observe=0))
                answer = Message.decode(sock.recv(2048))
                assert answer.code == Code.CONTENT
                accepted += answer.opt.observe is not None
            assert accepted == 8
        finally:
            for sock in sockets:
                sock.close()


def test_others_cannot_answer_for_the_peer(tmp_path: Path) -> None:
    """An answer with the right id and token from another port changes nothing."""
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, stranger:
        server.bind(("127.0.0.1", 0))
        server.settimeout(limit(10))
        command = device("coap_device_client.py", "core_12", "127.0.0.1", server.getsockname()[1])
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as client:
            data, peer = server.recvfrom(2048)
            request = Message.decode(data)
            lie = encoded(Code.NOT_FOUND, kind=ACK, mid=request.mid, token=request.token)
            stranger.sendto(lie, peer)
            time.sleep(0.1)
            server.sendto(encoded(Code.CONTENT, b"true", kind=ACK, mid=request.mid, token=request.token), peer)
            assert client.communicate(timeout=limit(20))[0].endswith("done\n")


# ---------------------------------------------------------------- bad servers


def ack(request: Message, code: Code, payload: bytes = b"", **options) -> bytes:
    return encoded(code, payload, kind=ACK, mid=request.mid, token=request.token, **options)


def endless(request: Message) -> list[bytes]:
    """Every block has another one after it."""
    number = request.opt.block2.block_number if request.opt.block2 else 0
    return [ack(request, Code.CONTENT, bytes(256), block2=(number, True, 4))]


def forever_continue(request: Message) -> list[bytes]:
    """2.31 for everything, the last block too, and for a GET."""
    return [ack(request, Code.CONTINUE, block1=request.opt.block1)]


def same_block(request: Message) -> list[bytes]:
    return [ack(request, Code.CONTENT, bytes(256), block2=(0, True, 4))]


def larger_blocks(request: Message) -> list[bytes]:
    return [ack(request, Code.CONTENT, bytes(1024), block2=(0, True, 6))]


def too_large(request: Message) -> list[bytes]:
    return [ack(request, Code.CONTENT, bytes(1400))]


def short_blocks(request: Message) -> list[bytes]:
    number = request.opt.block2.block_number if request.opt.block2 else 0
    return [ack(request, Code.CONTENT, bytes(100), block2=(number, True, 4))]


def another_each_time(request: Message) -> list[bytes]:
    number = request.opt.block2.block_number if request.opt.block2 else 0
    return [ack(request, Code.CONTENT, bytes(256), block2=(number, True, 4), etag=b"%d" % number)]


def unknown_option(request: Message) -> list[bytes]:
    return [ack(request, Code.CONTENT) + b"\xd1\x00x"]  # option 13: critical


def wrong_token(request: Message) -> list[bytes]:
    return [encoded(Code.CONTENT, kind=ACK, mid=request.mid, token=b"wrong")]


def only_acknowledged(request: Message) -> list[bytes]:
    return [b"\x60\x00" + request.mid.to_bytes(2, "big")]


def reset(request: Message) -> list[bytes]:
    return [b"\x70\x00" + request.mid.to_bytes(2, "big")]


def echo_forever(request: Message) -> list[bytes]:
    return [ack(request, Code.UNAUTHORIZED, echo=b"again")]


def silent(request: Message) -> list[bytes]:
    return []


@pytest.mark.parametrize(
    ("answer", "reasons"),
    [
        (endless, {"size"}),
        (forever_continue, {"231"}),
        (same_block, {"changed"}),
        (larger_blocks, {"size"}),
        (too_large, {"size"}),
        (short_blocks, {"protocol"}),
        (another_each_time, {"changed"}),
        (unknown_option, {"protocol"}),
        (wrong_token, {"timeout"}),
        (only_acknowledged, {"timeout"}),
        (reset, {"reset"}),
        (echo_forever, {"refused"}),
        (silent, {"timeout"}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_client_says_what_is_wrong(answer: Answer, reasons: set[str]) -> None:
    with BadServer(answer) as server:
        assert patient(server.port, 4)[0] == reasons


def test_a_client_goes_on_whatever_comes() -> None:
    """Answers with bytes changed, cut, repeated, of other kinds; and good ones in between that must come through."""
    rng = random.Random(11)

    def answer(request: Message) -> list[bytes]:
        kind = rng.choice((ACK, ACK, CON, NON))
        mid = request.mid if kind == ACK else rng.randrange(65536)
        options: dict = {"observe": rng.randrange(1 << 24)} if request.opt.observe == 0 else {}
        if request.opt.block1 is not None and request.opt.block1.more:
            good = encoded(Code.CONTINUE, kind=kind, mid=mid, token=request.token, block1=request.opt.block1)
        else:
            good = encoded(Code.CONTENT, b"x" * rng.randrange(200), kind=kind, mid=mid, token=request.token, **options)
        if rng.random() < 0.4:
            return [good]
        bad = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        if rng.random() < 0.3:
            del bad[rng.randrange(len(bad)) :]
        noise = rng.randbytes(rng.randrange(1400))
        return [bytes(bad), noise, b"", good] if rng.random() < 0.7 else [bytes(bad)]

    with BadServer(answer) as server:
        reasons, early, late = patient(server.port, DATAGRAMS // 30, "observe")
        assert "205" in reasons
        assert server.requests > DATAGRAMS // 30
    assert late - early < SLACK, (early, late)


def patient(port: int, times: int, *more: str) -> tuple[set[str], int, int]:
    """(what the client said, its heap after a third and at the end)"""
    command = device("coap_device_patient.py", port, times, *more)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + times)
    assert done.stdout.endswith("done\n"), done.stdout + done.stderr
    first, *lines = done.stdout.splitlines()[:-1]
    _, early, late = first.split()
    return {line.split(" ", 1)[1] for line in lines}, int(early), int(late)
