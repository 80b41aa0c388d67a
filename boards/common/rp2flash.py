"""A ROM segment behind the file system in the flash of an RP2040 or RP2350, executed in place.

Stock MicroPython gives all of its storage to the file system. With boards/common/rp2/_boot.py
frozen in, the file system has the first FILES bytes; the rest is this segment.
"""

import os

import rp2
from micropython import const

FILES = const(376832)  # bytes of the file system
_BLOCK = const(4096)
_PAGE = const(256)  # the flash is written in whole pages
_ERASE = const(6)  # operations of the block device
_COUNT = const(4)


class Segment:
    """size: bytes, 0 where the file system has all of the storage."""

    def __init__(self):
        self.size = 0
        found = os.statvfs("/")
        if found[1] * found[2] == FILES:
            self.size = rp2.Flash().ioctl(_COUNT, 0) * _BLOCK - FILES
            self._flash = rp2.Flash(start=FILES, len=self.size)
            self._page = bytearray(_PAGE)

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
