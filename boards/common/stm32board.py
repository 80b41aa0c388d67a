"""What boards with an STM32 have in common, for their board.py to build on."""

from boot.romsegment import Segment
from boot.stock import Stock


class Stm32(Stock):
    folder = "/flash/tg"  # the port mounts its file system there
    LONGEST_MS = 32767

    def __init__(self):
        self._segment = Segment(self.BLOCK)
        self.slots = "rom" if self._segment.size else "file"

    def rom_size(self):
        return self._segment.size

    def rom(self):
        return self._segment.view()

    def rom_erase(self, offset, length):
        self._segment.erase(offset, length)

    def rom_write(self, offset, buf):
        self._segment.write(offset, buf)
