"""A ROM segment in the flash of an RP2040 or RP2350, executed in place.

It is MicroPython's own where the firmware was built with one (MICROPY_HW_ROMFS_BYTES, as
boards/rpi_pico does): its vfs.rom_ioctl gives out a flash object that erases single blocks. Stock
MicroPython gives all of its storage to the file system. With boards/common/rp2/_boot.py frozen
in, that has the first FILES bytes; what is left of the storage is this segment.
"""

import os

import rp2
import vfs
from micropython import const

FILES = const(376832)  # bytes of the file system
_BLOCK = const(4096)
_PAGE = const(256)  # the flash is written in whole pages
_ERASE = const(6)  # operations of the block device
_COUNT = const(4)
_SEGMENTS = const(1)  # operations of vfs.rom_ioctl
_SEGMENT = const(2)


class Segment:
    """size: bytes, 0 where the file system has all of the storage."""

    def __init__(self):
        self._page = bytearray(_PAGE)
        self._flash = _own()
        self.size = self._flash.ioctl(_COUNT, 0) * _BLOCK if self._flash else 0

    def view(self):
        """Memory mapped, read-only."""
        return memoryview(self._flash)

    def erase(self, offset, length):
        """Sets whole blocks to 0xff; raises OSError for anything else."""
        self._check(offset, length)
        if offset % _BLOCK or length % _BLOCK:
            raise OSError(22)
        for at in range(offset, offset + length, _BLOCK):
            self._flash.ioctl(_ERASE, at // _BLOCK)

    def write(self, offset, buf):
        """Writes any number of bytes into erased space; the rest of their pages is written as
        0xff, which changes nothing. Raises OSError.
        """
        self._check(offset, len(buf))
        done = 0
        while done < len(buf):
            start = (offset + done) % _PAGE
            count = min(_PAGE - start, len(buf) - done)
            for at in range(_PAGE):
                self._page[at] = 0xFF
            self._page[start : start + count] = buf[done : done + count]
            at = offset + done - start
            self._flash.writeblocks(at // _BLOCK, self._page, at % _BLOCK)
            done += count

    def _check(self, offset, length):
        if not 0 <= offset <= offset + length <= self.size:
            raise OSError(22)


def _own():
    """The flash of MicroPython's own segment, or what our _boot.py left, or None."""
    ioctl = getattr(vfs, "rom_ioctl", None)
    if ioctl and ioctl(_SEGMENTS) > 0:
        return ioctl(_SEGMENT, 0)
    found = os.statvfs("/")
    size = rp2.Flash().ioctl(_COUNT, 0) * _BLOCK - FILES
    if size > 0 and found[1] * found[2] == FILES:
        return rp2.Flash(start=FILES, len=size)
    return None
