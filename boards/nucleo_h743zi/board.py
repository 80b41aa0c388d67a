"""The hardware of ST's NUCLEO-H743ZI and NUCLEO-H743ZI2, for the loader and the agent."""

import network
from boot.stm32board import Stm32
from boot.wlan import Wired


class Board(Stm32):
    name = "nucleo_h743zi"
    arch = "armv7emdp"

    def __init__(self):
        Stm32.__init__(self)
        self._net = Wired(network.LAN())
