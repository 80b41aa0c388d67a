"""A Python prompt on a board."""

from __future__ import annotations

import ast
import contextlib
from typing import Any

from mpremote.transport_serial import SerialTransport
from patience import limit


class Prompt:
    """The board's raw REPL, entered without a soft reset, so that reset_cause() stays what it was."""

    def __init__(self, pty: str):
        self._transport = SerialTransport(pty, timeout=limit(0.5))
        self.enter()

    def enter(self) -> None:
        self._transport.in_raw_repl = False
        self._transport.enter_raw_repl(soft_reset=False)

    def exec(self, code: str) -> str:
        return self._transport.exec(code).decode().replace("\r\n", "\n")

    def eval(self, expression: str) -> Any:
        return ast.literal_eval(self.exec(f"print(repr(({expression})))"))

    def start(self, code: str) -> None:
        """Runs code without waiting for its end."""
        self._transport.exec_raw_no_follow(code)

    def restart(self, code: str = "import machine; machine.reset()") -> None:
        """Runs code that resets the board; returns when the board has started and its prompt is there."""
        self.start(code)
        self.read_until(b">>> ")

    def read_until(self, ending: bytes, timeout: float = 10) -> bytes:
        return self._transport.read_until(1, ending, timeout=limit(timeout))

    def send(self, data: bytes) -> None:
        self._transport.serial.write(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._transport.close()
