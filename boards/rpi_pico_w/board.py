"""The hardware of the Raspberry Pi Pico W, for the loader and the agent."""

from boot.rp2board import Rp2


class Board(Rp2):
    name = "rpi_pico_w"
    arch = "armv6m"
    interface = "wlan"
