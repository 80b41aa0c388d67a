"""`tidegate link` on pseudo-terminals, whose other end speaks as a board does."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import limit

from tidegate.link.frames import Frame, Kind, Splitter

PATIENCE_S = 30


class Board:
    """The board's end of a serial line."""

    def __init__(self, link: Path):
        self._link = link
        self._splitter = Splitter()
        self._found: list[Frame | str] = []
        self.raw = b""
        self.plug()

    def plug(self) -> None:
        self._end, theirs = pty.openpty()
        tty.setraw(theirs)
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(os.ttyname(theirs))
        self._theirs = theirs

    def unplug(self) -> None:
        os.close(self._end)
        os.close(self._theirs)
        self._link.unlink()

    def say(self, data: bytes) -> None:
        """Reads meanwhile: a host that answers a flood must not wait for us for ever."""
        while data:
            readable, writable, _ = select.select([self._end], [self._end], [], 1)
            if readable:
                self._read()
            if writable:
                data = data[os.write(self._end, data[:512]) :]

    def frame(self, kind: Kind) -> Frame:
        """The next frame of this kind that the host sends."""
        deadline = time.monotonic() + limit(PATIENCE_S)
        while True:
            while self._found:
                found = self._found.pop(0)
                if isinstance(found, Frame) and found.kind is kind:
                    return found
            assert time.monotonic() < deadline, f"no {kind!r}; the host sent {self.raw[-200:]!r}"
            if select.select([self._end], [], [], 0.1)[0]:
                self._read()

    def _read(self) -> None:
        data = os.read(self._end, 4096)
        self.raw += data
        self._found += self._splitter.feed(data)

    def hello(self, nonce: bytes = b"boot", *connections: int) -> int:
        """The session that the host answers with; asked for again, as boards do, in case nobody listened yet."""
        for _ in range(100):
            self.say(Frame(Kind.HELLO, 0, 0, 1, nonce + bytes(connections)).pack())
            with contextlib.suppress(AssertionError):
                return self._welcome(nonce).session
        raise AssertionError("nobody answers")

    def _welcome(self, nonce: bytes) -> Frame:
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            if select.select([self._end], [], [], 0.05)[0]:
                self._read()
            for found in list(self._found):
                if isinstance(found, Frame) and found.kind is Kind.WELCOME and found.payload[:4] == nonce:
                    self._found.clear()
                    return found
        raise AssertionError

    def open(self, session: int, number: int, port: int) -> None:
        self.say(Frame(Kind.OPEN, session, number, 0, port.to_bytes(2, "big") + b"127.0.0.1").pack())


class Command:
    """`tidegate link --json` as a process; events: what it has said."""

    def __init__(self, *words: str):
        command = [sys.executable, "-c", "from tidegate.cli import main; main()", "link", "--json", *words]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.events: list[dict] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.events.append(json.loads(line))

    def wait(self, event: str, **facts: object) -> dict:
        deadline = time.monotonic() + limit(PATIENCE_S)
        while True:
            for found in list(self.events):
                if found["event"] == event and facts.items() <= found.items():
                    return found
            assert time.monotonic() < deadline, f"no {event}; it said {self.events[-5:]}"
            time.sleep(0.02)

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        self._process.send_signal(how)
        code = self._process.wait(limit(PATIENCE_S))
        self._reader.join()
        return code


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    """The port of a server that answers with what it hears, and ends after "end"."""

    def serve(peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            while data := peer.recv(1000):
                if data == b"end":
                    return
                peer.sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=[server.accept()[0]], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def bench(echo: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Command, Board, Board]]:
    """One command with two boards, which the tests share."""
    folder = tmp_path_factory.mktemp("link")
    boards = Board(folder / "one"), Board(folder / "two")
    command = Command(str(folder / "one"), str(folder / "two"), "--to", f"127.0.0.1:{echo}")
    yield (command, *boards)
    assert command.end(signal.SIGTERM) == 130


def test_nothing_is_written_to_a_board_that_does_not_ask(bench: tuple[Command, Board, Board]) -> None:
    command, board, _ = bench
    command.wait("waiting")
    board.say(b">>> \x1b[1mA REPL\r\n\x1eAAAA\r\n")
    command.wait("printed", line=">>> \x1b[1mA REPL")
    board.hello()
    assert board.raw.startswith(b"\x1e") and board.raw.endswith(b"\n") and board.raw.count(b"\n") == 1


def test_two_boards_reach_the_server_at_once(bench: tuple[Command, Board, Board], echo: int) -> None:
    command, *boards = bench
    sessions = [board.hello(b"both") for board in boards]
    for board, session in zip(boards, sessions, strict=True):
        board.open(session, 7, echo)
        assert board.frame(Kind.OPENED).connection == 7
    for board, session, text in zip(boards, sessions, (b"first", b"second"), strict=True):
        board.say(Frame(Kind.DATA, session, 7, 0, text).pack())
        assert board.frame(Kind.DATA).payload == text
        board.say(Frame(Kind.ACK, session, 7, 0).pack())
        board.say(Frame(Kind.DATA, session, 7, 1, b"end").pack())
        assert board.frame(Kind.CLOSE).connection == 7
    place = {"host": "127.0.0.1", "port": echo, "why": "closed by the other side"}
    assert command.wait("closed", **place)["up"] in (8, 9)


def test_what_is_not_acknowledged_comes_again_and_what_comes_twice_counts_once(
    bench: tuple[Command, Board, Board], echo: int
) -> None:
    _, board, _ = bench
    session = board.hello(b"late")
    for _ in range(2):
        board.open(session, 1, echo)
        board.frame(Kind.OPENED)
    for _ in range(2):
        board.say(Frame(Kind.DATA, session, 1, 0, b"once").pack())
        assert board.frame(Kind.ACK).number == 0
    again = [board.frame(Kind.DATA) for _ in range(2)]
    assert again[0] == again[1] and again[0].payload == b"once"
    board.say(Frame(Kind.ACK, session, 1, 0).pack())
    board.say(Frame(Kind.DATA, session, 1, 1, b"more").pack())
    found = board.frame(Kind.DATA)
    while found.number == 0:  # sent before the acknowledgement was read
        found = board.frame(Kind.DATA)
    assert (found.number, found.payload) == (1, b"more")
    board.hello(b"late")  # it knows of no connection any more
    board.say(Frame(Kind.DATA, session, 1, 2, b"lost").pack())
    assert board.frame(Kind.CLOSE).connection == 1


def test_only_what_was_named_is_reached(bench: tuple[Command, Board, Board], echo: int) -> None:
    command, board, _ = bench
    session = board.hello(b"spy!")
    port = echo % 65535 + 1
    board.open(session, 1, port)
    assert b"allow" in board.frame(Kind.CLOSE).payload
    command.wait("not-allowed", host="127.0.0.1", port=port)
    board.say(Frame(Kind.OPEN, session, 2, 0, b"\x00").pack())
    assert board.frame(Kind.CLOSE).connection == 2


def test_a_flood_of_anything_stops_nothing(bench: tuple[Command, Board, Board], echo: int) -> None:
    _, board, other = bench
    board.say((bytes(range(256)) * 40 + b"\x1e" + b"QUFB" * 100) * 20)
    session = board.hello(b"wild")
    flood = b"".join(Frame(kind, session, number, 9, b"x" * 240).pack() for kind in Kind for number in range(1, 40))
    board.say(flood)
    board.hello(b"calm")
    session = other.hello(b"good")
    other.open(session, 3, echo)
    assert other.frame(Kind.OPENED).connection == 3
    other.hello(b"bye!")


def test_a_board_that_was_unplugged_is_linked_again(bench: tuple[Command, Board, Board]) -> None:
    command, board, _ = bench
    board.hello(b"here")
    board.unplug()
    command.wait("no-port")
    board.plug()
    board.hello(b"back")


def test_ctrl_c_ends_it_with_130(echo: int, tmp_path: Path) -> None:
    board = Board(tmp_path / "one")
    command = Command(str(tmp_path / "one"), "--to", f"127.0.0.1:{echo}")
    board.open(board.hello(), 1, echo)
    board.frame(Kind.OPENED)
    assert command.end() == 130
    assert command.events[-1]["event"] in ("lost", "closed")
