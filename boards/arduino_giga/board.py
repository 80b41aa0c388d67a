"""The hardware of the Arduino GIGA R1 WiFi, for the loader and the agent."""

from boot.stm32board import Stm32


class Board(Stm32):
    name = "arduino_giga"
    arch = "armv7emdp"
    interface = "wlan"
