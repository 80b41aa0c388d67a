"""An emulated board that talks to a server while its instructions are counted and its memory is read.

QEMU counts instructions for the benches of single parts by letting time stand still while a board waits, so no server
can answer it. Here it records instead (`rr=record`, into nothing), as it does to replay a run later: time is as usual,
and it says at any moment how many instructions were executed.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tidegate.boards.emulator import Emulator

ANSWER_S = 60
UP, DOWN = "up", "down"
Watch = Callable[[str, bytes], None]


class CountedEmulator(Emulator):
    """As Emulator; instructions() and memory() while it runs. It is powered on standing still, before the first of
    them: run_to() lets it go."""

    def command(self, control: int) -> list[str]:
        command = super().command(control)
        command[-1] += ",rr=record,rrfile=/dev/null"  # of -icount
        self._paths = [self.storage.with_suffix(suffix) for suffix in (".qmp", ".gdb")]
        ends = [f"unix:{str(path).replace(',', ',,')},server=on,wait=off" for path in self._paths]
        return [*command, "-S", "-qmp", ends[0], "-gdb", ends[1]]

    def start(self) -> None:
        super().start()
        self._asking = threading.Lock()
        self._socket = _connected(self._paths[0])
        self._answers = self._socket.makefile("r")
        self._answers.readline()  # the greeting
        self._ask("qmp_capabilities")

    def run_to(self, address: int, timeout_s: float) -> int:
        """Let the board run until it is about to execute what is there; instructions() at that moment."""
        with _connected(self._paths[1]) as debugger:
            debugger.settimeout(timeout_s)
            stop = f"0,{address & ~1:x},2"
            _debug(debugger, "Z" + stop, "OK")
            _debug(debugger, "c", "T")
            instructions = self.instructions()
            _debug(debugger, "z" + stop, "OK")
            _debug(debugger, "D", "OK")  # it goes on
        return instructions

    def _end(self, how: Any) -> None:
        super()._end(how)
        if hasattr(self, "_socket"):
            self._answers.close()
            self._socket.close()

    def _ask(self, command: str, **arguments: Any) -> Any:
        with self._asking:
            self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
            for line in self._answers:
                answer = json.loads(line)
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    raise RuntimeError(f"QEMU refuses {command}: {answer['error']['desc']}")
        raise RuntimeError(f"QEMU ended during {command}")

    def instructions(self) -> int:
        """How many the board has executed since it was powered on."""
        return int(self._ask("query-replay")["icount"])

    def cpu_seconds(self) -> float:
        """Seconds of this machine's processors that the emulator has taken."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def memory(self, address: int, size: int) -> tuple[bytes, dict[str, int]]:
        """What is there, and the registers, of a board that stands still meanwhile."""
        out = self.storage.with_suffix(".ram")
        self._ask("stop")
        try:
            self._ask("pmemsave", val=address, size=size, filename=str(out))
            said = self._ask("human-monitor-command", **{"command-line": "info registers"})
        finally:
            self._ask("cont")
        names = (part.partition("=") for part in said.split() if part[0] == "R" and "=" in part)
        found = {name: int(value, 16) for name, _, value in names}
        data = out.read_bytes()
        out.unlink()
        return data, found


def _connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(ANSWER_S)
    connection.connect(str(path))
    return connection


def _debug(debugger: socket.socket, command: str, answer: str) -> None:
    """Send one packet of GDB's remote protocol and wait for one that begins with `answer`. Others say that the board
    stopped as the debugger came."""
    debugger.sendall(f"${command}#{sum(command.encode()) & 255:02x}".encode())
    said = b""
    while not said.startswith(answer.encode()):
        while debugger.recv(1) != b"$":
            pass
        said = b""
        while not said.endswith(b"#"):
            said += debugger.recv(1)
        debugger.sendall(b"+")


class Relay:
    """Passes a board's connections on to a port of this machine. watch(UP or DOWN, data) is called before data goes on,
    so the board waits meanwhile. port: where boards connect."""

    def __init__(self, target: int, watch: Watch):
        relay = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                try:
                    server = socket.create_connection(("127.0.0.1", relay._target))
                except OSError:  # nobody is there, and the board sees its connection end
                    return
                with server:
                    downwards = threading.Thread(target=relay._copy, args=(DOWN, server, self.request), daemon=True)
                    downwards.start()
                    relay._copy(UP, self.request, server)
                    downwards.join()

        self._target = target
        self._watch = watch
        socketserver.ThreadingTCPServer.daemon_threads = True
        self._server = socketserver.ThreadingTCPServer(("0.0.0.0", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _copy(self, way: str, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._watch(way, data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:  # one of the two is gone, as after a power cut
            for end in (source, target):
                end.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Marks:
    """Instructions at the moments that a relay sees. Each is a name and a test of (way, data)."""

    def __init__(self, count: Callable[[], int]):
        self._count = count
        self._tests: dict[str, Callable[[str, bytes], bool]] = {}
        self._changed = threading.Condition()
        self._found: dict[str, int] = {}
        self._times: dict[str, float] = {}

    def look_for(self, **tests: Callable[[str, bytes], bool]) -> None:
        with self._changed:
            self._tests, self._found = dict(tests), {}

    def see(self, way: str, data: bytes) -> None:
        with self._changed:
            for name, test in list(self._tests.items()):
                if test(way, data):
                    self._found[name], self._times[name] = self._count(), time.monotonic()
                    del self._tests[name]
            self._changed.notify_all()

    def when(self, name: str) -> float:
        """The monotonic time of a moment that is over."""
        return self._times[name]

    def wait(self, name: str, timeout_s: float) -> int:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while name not in self._found:
                if not self._changed.wait(max(0, deadline - time.monotonic())):
                    raise RuntimeError(f"the board did not come to {name!r} within {timeout_s:.0f} s")
            return self._found[name]
