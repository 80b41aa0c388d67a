"""MicroPython's own ROM segment (vfs.rom_ioctl), if single blocks can be erased: since 1.29.

Before that a segment could be erased from its beginning only, which would erase the running slot.
"""

import vfs
from micropython import const

_COUNT = const(1)  # operations of vfs.rom_ioctl
_GET = const(2)
_PREPARE = const(3)
_WRITE = const(4)
_LEAST_ERASE = const(6)


class Segment:
    """Segment 0. size: bytes, 0 if there is no usable one."""

    def __init__(self, block):
        self._block = block
        self.size = 0
        ioctl = getattr(vfs, "rom_ioctl", None)
        if ioctl and ioctl(_COUNT) > 0 and ioctl(_LEAST_ERASE, 0) == block:
            self._view = ioctl(_GET, 0)
            self.size = len(self._view)

    def view(self):
        """Memory mapped, read-only."""
        return self._view

    def erase(self, offset, length):
        """Sets whole blocks to 0xff; raises OSError for anything else."""
        if offset % self._block or length % self._block:
            raise OSError(22)
        _check(vfs.rom_ioctl(_PREPARE, 0, offset, length))

    def write(self, offset, buf):
        """Writes into erased space; raises OSError."""
        _check(vfs.rom_ioctl(_WRITE, 0, offset, buf))


def _check(result):
    if result < 0:
        raise OSError(-result)
