"""The hardware of the Arduino GIGA R1 WiFi, for the loader and the agent."""

from boot.stm32board import Stm32
from boot.wlan import Wlan


class Board(Stm32):
    name = "arduino_giga"
    arch = "armv7emdp"

    def __init__(self):
        Stm32.__init__(self)
        self._net = Wlan(self.folder)
