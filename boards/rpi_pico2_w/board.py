"""The hardware of the Raspberry Pi Pico 2 W, for the loader and the agent."""

from boot.rp2board import Rp2
from boot.wlan import Wlan


class Board(Rp2):
    name = "rpi_pico2_w"
    arch = "armv7emsp"
    SCRATCH_4 = 0x400D801C  # of the RP2350's watchdog

    def __init__(self):
        Rp2.__init__(self)
        self._net = Wlan(self.folder)
