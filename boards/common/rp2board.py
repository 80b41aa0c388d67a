"""The Board of boards with an RP2040 or RP2350."""

import machine
from boot.rp2flash import Segment
from boot.stock import WithSegment
from micropython import const

_STARTED = const(0x6AB73121)  # the SDK writes it to scratch register 4 with a watchdog's start


class Rp2(WithSegment):
    LONGEST_MS = 8388
    SCRATCH_4 = 0x4005801C  # of the RP2040's watchdog

    def __init__(self):
        WithSegment.__init__(self, Segment())

    def reset_cause(self):
        """As Stock.reset_cause. machine.reset() uses the watchdog, too; that is a hard reset."""
        cause = WithSegment.reset_cause(self)
        if cause == "watchdog" and machine.mem32[self.SCRATCH_4] != _STARTED:
            return "hard"
        return cause
