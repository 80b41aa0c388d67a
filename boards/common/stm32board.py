"""What boards with an STM32 have in common, for their board.py to build on."""

from boot.romsegment import Segment
from boot.stock import WithSegment


class Stm32(WithSegment):
    folder = "/flash/tg"  # the port mounts its file system there
    LONGEST_MS = 32767

    def __init__(self):
        WithSegment.__init__(self, Segment(self.BLOCK))
