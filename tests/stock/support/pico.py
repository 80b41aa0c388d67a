"""A Raspberry Pi Pico inside of this process: an emulated RP2040 whose flash can be looked at, changed and torn.

One call to run() emulates until its console says what is looked for. Nothing runs beside it, so a board without power
is an object that is dropped, and its flash, given to a new one, is what the power comes back to.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rp2040py.boards import BoardSpec
from rp2040py.device.base_device import BaseDevice
from rp2040py.peripherals import ssi

STORAGE = 2048 * 1024 - 368 * 1024  # where the file system begins in the flash; the ROM segment is before it
SEGMENT = STORAGE - 1040 * 1024
_FIFO_ROOM = 32
_STILL = 3  # turns of the emulator in which no time passed
_CTRL_A, _CTRL_B, _CTRL_C, _CTRL_D = 1, 2, 3, 4

Watch = Callable[["Pico", str, int, bytes], None]


class PicoError(AssertionError):
    """The board did not say what it must; the text ends with what it said."""


class Pico:
    """said: what its console printed since it was made. watch: called before each program and erase that the flash
    driver issues, with "erase" or "program", the offset in the flash, and the bytes that it will leave.
    """

    def __init__(self, firmware: Path, flash: bytes | None = None):
        self._device = BaseDevice(board=BoardSpec(image=firmware))
        self._simulator = self._device.simulator
        self._mcu: Any = self._device.mcu
        self.said = ""
        self.watch: Watch | None = None
        self._device.cdc.on_serial_data = self._take
        # What it printed before the cable was seen is lost; a new line brings the prompt again.
        self._device.cdc.on_device_connected = lambda: self._device.cdc.send_serial_byte(13)
        if flash is not None:
            self._mcu.flash[:] = flash
        ssi_block = self._mcu.ssi
        self._apply = ssi_block._apply_command
        ssi_block._apply_command = self._command
        self._mcu.core.pc = 0x10000000

    @property
    def flash(self) -> bytearray:
        flash: bytearray = self._mcu.flash
        return flash

    @property
    def seconds(self) -> float:
        """Of the board's time since it was made."""
        return float(self._simulator.clock.nanos) / 1e9

    def run(self, pattern: str, seconds: float = 10.0) -> re.Match[str]:
        """Emulates until the console has said `pattern`; raises PicoError after so many seconds of the board's time."""
        end, still = self.seconds + seconds, 0
        self._simulator.stopped = False
        while True:
            found = re.search(pattern, self.said)
            if found:
                return found
            if self.seconds > end:
                raise PicoError(f"no {pattern!r} within {seconds} s of its time; it said:\n{self.said[-3000:]}")
            before = self.seconds
            self._simulator._execute_batch()
            still = still + 1 if self.seconds == before else 0
            if still > _STILL:  # nothing is to happen any more, not even in its time
                raise PicoError(f"no {pattern!r}, and it waits for ever; it said:\n{self.said[-3000:]}")

    def type(self, data: bytes) -> None:
        """Types at its console, no faster than it takes it."""
        fifo = self._device.cdc.tx_fifo
        self._simulator.stopped = False
        for byte in data:
            while fifo.item_count >= _FIFO_ROOM:
                self._simulator._execute_batch()
            self._device.cdc.send_serial_byte(byte)

    def start(self, source: str) -> None:
        """Starts a program at its raw REPL; whatever ran is interrupted."""
        self.type(bytes((_CTRL_C, _CTRL_C, _CTRL_A)))
        self.run(r"raw REPL; CTRL-B to exit\r\n>")
        self.said = ""
        self.type(source.encode() + bytes((_CTRL_D,)))

    def execute(self, source: str, seconds: float = 20.0) -> str:
        """What a program prints, run at the raw REPL. Raises PicoError if it raised."""
        self.start(source)
        found = self.run(r"(?s)OK(.*?)\x04(.*?)\x04>", seconds)
        if found[2]:
            raise PicoError(found[2])
        return found[1].replace("\r\n", "\n")

    def _take(self, data: bytes | bytearray) -> None:
        self.said += bytes(data).decode(errors="replace")

    def _command(self) -> None:
        block = self._mcu.ssi
        sent = bytes(block._tx_buffer)
        if self.watch is not None and len(sent) >= 4 and block._write_enabled:
            at = int.from_bytes(sent[1:4], "big")
            if sent[0] in (ssi.CMD_SECTOR_ERASE, ssi.CMD_BLOCK_ERASE):
                size = ssi.FLASH_SECTOR_SIZE if sent[0] == ssi.CMD_SECTOR_ERASE else ssi.FLASH_BLOCK_SIZE
                at -= at % size
                self.watch(self, "erase", at, b"\xff" * size)
            elif sent[0] == ssi.CMD_PAGE_PROGRAM:
                data = sent[4 : 4 + ssi.FLASH_PAGE_SIZE]
                old = self.flash[at : at + len(data)]
                self.watch(self, "program", at, bytes(a & b for a, b in zip(old, data, strict=True)))
        self._apply()
