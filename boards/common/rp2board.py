"""What boards with an RP2040 or RP2350 have in common, for their board.py to build on."""

import machine
from boot.rp2flash import Segment
from boot.stock import WithSegment
from micropython import const

_STARTED = const(0x6AB73121)  # what the SDK leaves in scratch register 4 when a watchdog is started


class Rp2(WithSegment):
    LONGEST_MS = 8388
    SCRATCH_4 = 0x4005801C  # of the RP2040's watchdog

    def __init__(self):
        WithSegment.__init__(self, Segment())

    def reset_cause(self):
        """As of any board. machine.reset() uses the watchdog here; what only started one is told apart."""
        cause = WithSegment.reset_cause(self)
        if cause == "watchdog" and machine.mem32[self.SCRATCH_4] != _STARTED:
            return "hard"
        return cause
