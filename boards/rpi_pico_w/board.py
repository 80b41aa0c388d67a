"""The hardware of the Raspberry Pi Pico W, for the loader and the agent."""

from boot.rp2board import Rp2
from boot.wlan import Wlan


class Board(Rp2):
    name = "rpi_pico_w"
    arch = "armv6m"

    def __init__(self):
        Rp2.__init__(self)
        self._net = Wlan(self.folder)
