"""The hardware of the Arduino Portenta H7, for the loader and the agent."""

import network
from boot.stm32board import Stm32
from boot.wlan import Wired, Wlan, settings


class Board(Stm32):
    name = "arduino_portenta_h7"
    arch = "armv7emdp"

    def __init__(self):
        Stm32.__init__(self)
        wireless = settings(self.folder)
        self._net = Wlan(self.folder) if wireless else Wired(network.LAN())
