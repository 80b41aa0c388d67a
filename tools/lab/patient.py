#!/usr/bin/env python3
"""`tidegate flash` and `tidegate link` with the patience that an emulated RP2040 needs: a second of its time takes half
a minute here, and more beside other work. What they do and say is the command's own.

    python tools/lab/patient.py link PORT --config FILE
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mpremote.transport_serial import SerialTransport

from tidegate.cli import main
from tidegate.flash import serial_session
from tidegate.link import connection, port, relay

SLOWER = 20


def be_patient() -> None:
    """All that these commands wait for takes longer; until a frame is sent once more, too."""
    for module, names in (
        (serial_session, ("READ_TIMEOUT_S", "QUIET_S", "STOP_S", "ENTER_S", "WRITE_TIMEOUT_S")),
        (connection, ("AGAIN_S", "AGAIN_MOST_S")),
        (port, ("WRITE_S",)),
        (relay, ("SILENT_S",)),
    ):
        for name in names:
            setattr(module, name, getattr(module, name) * SLOWER)
    execute = SerialTransport.exec_raw

    def exec_raw(self: Any, command: Any, timeout: float = 10, **options: Any) -> Any:
        return execute(self, command, timeout=timeout * SLOWER, **options)

    SerialTransport.exec_raw = exec_raw


if __name__ == "__main__":
    be_patient()
    main(prog_name="tidegate")
