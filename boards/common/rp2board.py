"""What boards with an RP2040 or RP2350 have in common, for their board.py to build on."""

import machine
from boot.rp2flash import Segment
from boot.stock import Stock
from micropython import const

_STARTED = const(0x6AB73121)  # what the SDK leaves in scratch register 4 when a watchdog is started


class Rp2(Stock):
    LONGEST_MS = 8388
    SCRATCH_4 = 0x4005801C  # of the RP2040's watchdog

    def __init__(self):
        self._segment = Segment()
        self.slots = "rom" if self._segment.size else "file"

    def reset_cause(self):
        """As of any board. machine.reset() uses the watchdog here; what only started one is told apart."""
        cause = Stock.reset_cause(self)
        if cause == "watchdog" and machine.mem32[self.SCRATCH_4] != _STARTED:
            return "hard"
        return cause

    def rom_size(self):
        return self._segment.size

    def rom(self):
        return self._segment.view()

    def rom_erase(self, offset, length):
        self._segment.erase(offset, length)

    def rom_write(self, offset, buf):
        self._segment.write(offset, buf)
