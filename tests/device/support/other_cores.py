"""The native modules built for the other cores, loaded on the emulated M3.

Their code is integer code that an ARMv7-M core carries out too (what is built for a core with a DSP or an FPU uses
neither), so conftest.py lays copies out for the board whose headers say that they are of its core."""

import sys

from check import root, skip

CORES = ("armv6m", "armv7emsp", "armv7emdp")


def module(core, name):
    """The module as it was built for that core, never one that was loaded before."""
    folder = root() + "/native/" + core
    sys.modules.pop(name, None)
    sys.path.insert(0, folder)
    try:
        return __import__(name)
    except ImportError:
        skip("not built: python tools/native.py")
    finally:
        sys.path.remove(folder)
        sys.modules.pop(name, None)
