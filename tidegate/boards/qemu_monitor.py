"""QEMU's control socket (QMP): whether its machine is made, and what the machine's memory and registers hold."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

from tidegate.errors import TidegateError

ANSWER_S = 20.0


class Monitor:
    """One end of the socket pair whose other end QEMU has. Threads may share it. close() lets go of it."""

    def __init__(self, control: socket.socket) -> None:
        control.settimeout(ANSWER_S)
        self._control = control
        self._file = control.makefile()
        self._turn = threading.Lock()

    def is_ready(self) -> bool:
        """Whether QEMU has made its machine: then it answers; if QEMU ends instead, the socket closes."""
        try:
            return self._execute("qmp_capabilities") is not None
        except OSError:  # QEMU ended while we wrote, or hangs
            return False

    def word(self, address: int) -> int:
        """The 32-bit word at a physical address. Raises TidegateError if QEMU does not say."""
        command = f"xp /1wx {address:#x}"
        try:
            with self._turn:
                said = self._execute("human-monitor-command", **{"command-line": command})
            return int(str(said).rpartition(":")[2], 16)
        except (OSError, ValueError) as error:
            raise TidegateError(f"QEMU did not answer `{command}`: {error}", "See whether the board runs") from None

    def close(self) -> None:
        self._file.close()
        self._control.close()

    def _execute(self, name: str, **arguments: Any) -> Any:
        """What the command returns, None if QEMU ended or refuses it. Events that come before it are passed over."""
        self._control.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        for line in self._file:
            message = json.loads(line)
            if "return" in message or "error" in message:
                return message.get("return")
        return None
