"""The hardware of the WIZnet W5500-EVB-Pico, for the loader and the agent."""

from boot.rp2board import Rp2


class Board(Rp2):
    name = "w5500_evb_pico"
    arch = "armv6m"
    interface = "wiznet5k"
