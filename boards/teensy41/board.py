"""The hardware of the Teensy 4.1, for the loader and the agent."""

import network
from boot.stock import Stock
from boot.wlan import Wired


class Board(Stock):
    name = "teensy41"
    arch = "armv7emdp"
    folder = "/flash/tg"  # the port mounts its file system there
    LONGEST_MS = 128000

    def __init__(self):
        self._net = Wired(network.LAN())
