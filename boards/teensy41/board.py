"""The hardware of the Teensy 4.1, for the loader and the agent."""

from boot.stock import Stock


class Board(Stock):
    name = "teensy41"
    arch = "armv7emdp"
    interface = "lan"
    folder = "/flash/tg"  # the port mounts its file system there
    LONGEST_MS = 128000
