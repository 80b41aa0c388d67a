"""The hardware of the WIZnet W5500-EVB-Pico, for the loader and the agent."""

import network
from boot.rp2board import Rp2
from boot.wlan import Wired


class Board(Rp2):
    name = "w5500_evb_pico"
    arch = "armv6m"

    def __init__(self):
        Rp2.__init__(self)
        self._net = Wired(network.WIZNET5K())
