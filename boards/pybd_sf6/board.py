"""The hardware of the Pyboard D-series SF6, for the loader and the agent."""

from boot.stm32board import Stm32


class Board(Stm32):
    name = "pybd_sf6"
    arch = "armv7emdp"
    interface = "both"
