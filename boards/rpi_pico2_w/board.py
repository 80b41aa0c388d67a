"""The hardware of the Raspberry Pi Pico 2 W, for the loader and the agent."""

from boot.rp2board import Rp2


class Board(Rp2):
    name = "rpi_pico2_w"
    arch = "armv7emsp"
    interface = "wlan"
    SCRATCH_4 = 0x400D801C  # of the RP2350's watchdog
