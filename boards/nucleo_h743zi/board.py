"""The hardware of the ST NUCLEO-H743ZI and NUCLEO-H743ZI2, for the loader and the agent."""

from boot.stm32board import Stm32


class Board(Stm32):
    name = "nucleo_h743zi"
    arch = "armv7emdp"
    interface = "lan"
