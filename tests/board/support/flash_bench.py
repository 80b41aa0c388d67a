"""A bench for flashing: the real loader, a small application, releases of it, and a cable that can be cut.

The board is the emulated Cortex-M3. What it boots is told by the application, which prints its number and then waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shutil
import threading
import tty
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[3]
from lab.board import LabBoard  # noqa: E402

from tidegate import boards  # noqa: E402
from tidegate.flash.request import Request  # noqa: E402
from tidegate.release import Release, build_release, load_release  # noqa: E402
from tidegate.sources import Sources  # noqa: E402
from tidegate.trust import keys, store  # noqa: E402

BOOT_S = 30
FILLING = 40_000  # bytes, so that an image takes a while and is worth continuing
_APP = """
import time
def start(boot):
    print("app %d, loader %s" % ({number}, boot_word()))
    while True:
        time.sleep_ms(20)
def boot_word():
    from boot import console
    return console.WORD
"""


class Bench:
    """Sources, releases and settings in `folder`. board: whose; a folder of boards/."""

    def __init__(self, folder: Path, board: str = "qemu_mps2"):
        self.folder = folder
        self.source = folder / "source"
        shutil.copytree(ROOT / "firmware" / "boot", self.source / "firmware" / "boot")
        shutil.copy(ROOT / "firmware" / "main.py", self.source / "firmware")
        shutil.copytree(ROOT / "boards", self.source / "boards")
        (self.source / "firmware" / "lib").mkdir()
        (self.source / "firmware" / "app").mkdir()
        self.board = board
        if board not in boards.names(self.source):
            self._keep_loader_in_files()
        self.set_loader("one")
        self.trust = folder / "trust.cbor"
        self.trust.write_bytes(store.encode(store.make([keys.new(role) for role in ("release", "command", "root")])))

    def _keep_loader_in_files(self) -> None:
        """The emulated board again, under another name, with its loader in files as on a stock MicroPython."""
        old, new = (self.source / "boards" / name for name in ("qemu_mps2", self.board))
        new.mkdir()
        for file, replaced, by in (
            ("board.toml", "loader_size = 65536", "loader_size = 0"),
            ("board.py", "LOADER_SIZE = 65536", "LOADER_SIZE = 0"),
        ):
            text = (old / file).read_text()
            assert replaced in text
            (new / file).write_text(text.replace(replaced, by).replace('name = "qemu_mps2"', f'name = "{self.board}"'))

    def set_loader(self, word: str) -> None:
        """Make the loader another one, that knows itself by this word."""
        console = ROOT / "firmware" / "boot" / "console.py"
        (self.source / "firmware" / "boot" / "console.py").write_text(f"{console.read_text()}\n\nWORD = {word!r}\n")

    def build(self, number: int, filling: bytes | None = None) -> Release:
        """A release whose application is `number`."""
        (self.source / "firmware" / "app" / "__init__.py").write_text(_APP.format(number=number))
        (self.source / "firmware" / "app" / "filling.bin").write_bytes(
            os.urandom(FILLING) if filling is None else filling
        )
        out = self.folder / f"release-{number}"
        return build_release(
            Sources.checkout(self.source),
            out,
            board_names=[self.board],
            version=f"1.0.{number}",
            sequence=number,
            product="p",
        )

    def request(self, number: int | None = None, **more: object) -> Request:
        """Everything that a fresh board needs."""
        config = {"device": "gate-1", "product": "p", "vendor": "tidegate.example", "board": self.board}
        config |= {"mqtt": {"host": "10.0.2.2", "port": 1883}, "payloads": "http://10.0.2.2/"}
        for name, value in (("config", config), ("credentials", {"user": "u", "password": "p"})):
            (self.folder / f"{name}.json").write_text(json.dumps(value))
        values: dict[str, object] = {"trust": self.trust, "config": self.folder / "config.json"}
        values["credentials"] = self.folder / "credentials.json"
        if number is not None:
            values["release"] = load_release(self.folder / f"release-{number}")
        return Request(boards.load(self.source, self.board), Sources.checkout(self.source), **{**values, **more})  # type: ignore[arg-type]


BOOTS = r"app (\d+), loader (\w+)"
SAFE = r"tidegate: safe mode"


def power_cycled(board: LabBoard) -> str:
    """What the board boots when its power comes back: "NUMBER LOADER", or "safe mode"."""
    mark = len(board.lines)
    board.power_cut()
    board.power_on()
    found = board.wait_line(f"{BOOTS}|{SAFE}", BOOT_S, mark)
    board.unwatch()
    return f"{found[1]} {found[2]}" if found[1] else "safe mode"


class Cable:
    """A serial line to the board that can be pulled; `port` is our end. Use it as a context manager.

    after: bytes in both directions after which it is pulled, None for never; pulled: called then, before our end is
    gone. said: bytes that come out of our end first, as from a line with noise on it.
    """

    def __init__(
        self, board: str, after: int | None = None, pulled: Callable[[], None] = lambda: None, said: bytes = b""
    ):
        self.passed = 0
        self.cut = False
        self._after = after
        self._pulled = pulled
        self._said = said
        self._board = os.open(board, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._board)
        self._ours, self._theirs = pty.openpty()
        tty.setraw(self._theirs)
        self.port = os.ttyname(self._theirs)
        self._stop = threading.Event()
        self._relay = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Cable:
        self._relay.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._relay.join()
        for file in (self._board, self._ours, self._theirs):
            with contextlib.suppress(OSError):
                os.close(file)

    def _run(self) -> None:
        os.write(self._ours, self._said)
        with contextlib.suppress(OSError):
            while not self._stop.is_set():
                ready, _, _ = select.select([self._board, self._ours], [], [], 0.05)
                for source in ready:
                    most = 4096 if self._after is None else min(4096, self._after - self.passed)
                    data = os.read(source, most)
                    os.write(self._ours if source == self._board else self._board, data)
                    self.passed += len(data)
                    if self.passed == self._after:
                        self._pull()
                        return

    def _pull(self) -> None:
        self.cut = True
        self._pulled()
        os.close(self._theirs)
        os.close(self._ours)
