"""The hardware of the Arduino Portenta H7, for the loader and the agent."""

from boot.stm32board import Stm32


class Board(Stm32):
    name = "arduino_portenta_h7"
    arch = "armv7emdp"
    interface = "both"
