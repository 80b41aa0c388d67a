"""The Board of boards with an STM32."""

from boot.romsegment import Segment
from boot.stock import WithSegment


class Stm32(WithSegment):
    folder = "/flash/tg"  # the port mounts its file system there
    LONGEST_MS = 32767

    def __init__(self):
        WithSegment.__init__(self, Segment(self.BLOCK))
