#!/usr/bin/env python3
"""mpremote, with more patience for the host when the board has a folder mounted.

    python tools/lab/patient_mpremote.py connect PTY mount FOLDER exec CODE

mpremote's code on the board gives up on the host after one second of the board's time. While it looks for a module,
MicroPython takes that for a module that does not exist; the late answer then arrives as part of the next one, and both
sides wait for ever. On a busy machine this process is away for longer than a second now and then.
"""

from __future__ import annotations

import sys

from mpremote import transport_serial
from mpremote.main import main

PATIENCE_MS = 120_000
_IMPATIENT = "ipoll(1000)"

if transport_serial.fs_hook_code.count(_IMPATIENT) != 1:
    sys.exit(f"this mpremote has no {_IMPATIENT} in its code for the board: adapt {__file__}")
transport_serial.fs_hook_code = transport_serial.fs_hook_code.replace(_IMPATIENT, f"ipoll({PATIENCE_MS})")
sys.exit(main())
