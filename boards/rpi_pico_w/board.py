"""The hardware of the Raspberry Pi Pico W, for the loader and the agent."""

from boot.rp2board import Rp2
from boot.wlan import Wlan


class Board(Rp2):
    name = "rpi_pico_w"
    arch = "armv6m"

    def __init__(self):
        Rp2.__init__(self)
        self._net = Wlan(self.folder)

    def network_up(self):
        """Begins to join the wireless LAN of the settings; returns at once."""
        self._net.up()

    def link(self):
        """Whether the interface has an address."""
        return self._net.joined()

    def addresses(self):
        return self._net.addresses()
