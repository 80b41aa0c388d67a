"""The network: DHCP, TCP and UDP against real sockets of this machine."""

import hashlib
import os
import socket
import socketserver
import threading
from collections.abc import Iterator

import board_network
import pytest
from patience import limit
from ports import free_port

from tidegate.boards.emulator import Emulator

UP = board_network.UP + "import socket\n"


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(4096):
            self.request.sendall(data)


@pytest.fixture
def echo() -> Iterator[int]:
    """A TCP server that sends back what it gets; its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_dhcp(board, prompt):
    repl = prompt(board)
    assert repl.eval("__import__('network').LAN().active()") is False
    repl.exec(UP)
    assert repl.eval("lan.ifconfig()[0], lan.ifconfig()[2], lan.status()") == ("10.0.2.15", "10.0.2.2", 3)
    repl.exec("lan.active(False)")
    assert repl.eval("lan.isconnected()") is False
    repl.exec(UP)
    assert repl.eval("lan.isconnected()") is True


def test_tcp_carries_bulk_data_unchanged(board, prompt, echo):
    data = os.urandom(1024)
    repl = prompt(board)
    repl.exec(UP)
    repl.exec(
        f"import hashlib\ns = socket.socket(); s.connect(('10.0.2.2', {echo}))\n"
        f"piece = {data!r}; back = bytearray(1024); view = memoryview(back); check = hashlib.sha256()\n"
        "for _ in range(200):\n"
        "    s.write(piece)\n"
        "    n = 0\n"
        "    while n < 1024: n += s.readinto(view[n:])\n"
        "    check.update(back)\n"
        "s.close()"
    )
    assert repl.eval("check.digest()") == hashlib.sha256(data * 200).digest()


def test_asyncio_streams_and_a_busy_task_side_by_side(board, prompt, echo):
    repl = prompt(board)
    repl.exec(UP)
    said = repl.exec(
        "import asyncio\n"
        "ticks = 0\n"
        "async def tick():\n"
        "    global ticks\n"
        "    while True:\n"
        "        ticks += 1\n"
        "        await asyncio.sleep_ms(10)\n"
        "async def talk(n):\n"
        f"    r, w = await asyncio.open_connection('10.0.2.2', {echo})\n"
        "    for i in range(20):\n"
        "        w.write(b'%d:%d\\n' % (n, i)); await w.drain()\n"
        "        line = await r.readline()\n"
        "        if line != b'%d:%d\\n' % (n, i): raise ValueError(line)\n"
        "    w.close(); await w.wait_closed()\n"
        "async def main():\n"
        "    t = asyncio.create_task(tick())\n"
        "    await asyncio.gather(*[talk(n) for n in range(4)])\n"
        "    await asyncio.sleep_ms(100)\n"
        "    t.cancel()\n"
        "asyncio.run(main())\n"
        "print(ticks)"
    )
    assert int(said) >= 8


def test_the_network_runs_while_python_computes(board, prompt, echo):
    """Acknowledgements go out between bytecodes: the peer's data is there when the loop ends."""
    repl = prompt(board)
    repl.exec(UP)
    repl.exec(
        f"s = socket.socket(); s.connect(('10.0.2.2', {echo})); s.write(b'x' * 2000)\n"
        "t = time.ticks_add(time.ticks_ms(), 300)\n"
        "while time.ticks_diff(t, time.ticks_ms()) > 0: pass\n"
        "s.setblocking(False)\n"
        "n = 0\n"
        "while True:\n"
        "    piece = s.recv(500)\n"
        "    n += len(piece)\n"
        "    if n == 2000: break\n"
    )


def test_udp_and_a_refused_connection(board, prompt):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as host, socket.socket() as closed:
        host.bind(("127.0.0.1", 0))
        host.settimeout(limit(5))
        closed.bind(("127.0.0.1", 0))  # bound, not listening: refuses
        repl = prompt(board)
        repl.exec(UP)
        repl.exec(
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)\n"
            f"s.sendto(b'ping', ('10.0.2.2', {host.getsockname()[1]}))"
        )
        data, board_address = host.recvfrom(100)
        host.sendto(data + b" pong", board_address)
        assert repl.eval("s.recvfrom(100)[0]") == b"ping pong"
        with pytest.raises(Exception, match="ECONNRESET|ECONNREFUSED|ECONNABORTED"):
            repl.exec(f"t = socket.socket(); t.connect(('10.0.2.2', {closed.getsockname()[1]}))")


def test_a_forward_reaches_a_server_on_the_board(tmp_path, prompt):
    port = free_port()
    with Emulator(tmp_path / "flash", hostfwd=[f"tcp:127.0.0.1:{port}-:7"]) as emulator:
        repl = prompt(emulator)
        repl.exec(UP + "a = socket.socket(); a.bind(('0.0.0.0', 7)); a.listen(1)")
        repl.start("c = a.accept()[0]; c.write(c.recv(100).upper()); c.close()")
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            client.sendall(b"hello")
            assert client.recv(100) == b"HELLO"


def test_connections_end_with_a_soft_reset(board, prompt):
    closed = threading.Event()

    class Watch(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(100):
                pass
            closed.set()

    with socketserver.TCPServer(("127.0.0.1", 0), Watch) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        repl = prompt(board)
        repl.exec(UP + f"s = socket.socket(); s.connect(('10.0.2.2', {server.server_address[1]})); s.write(b'hi')")
        repl.send(b"\x04")
        repl.read_until(b"raw REPL; CTRL-B to exit\r\n")
        assert closed.wait(limit(5))
        repl.exec(UP)
        server.shutdown()
