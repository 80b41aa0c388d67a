"""A Linux machine as a board: the ROM segment is a file mapped into memory, the watchdog an
interval timer.

All its files are in the folder TIDEGATE_ROOT. A reset ends the process: `gateway` (beside this
file) starts it again and sets TIDEGATE_RESET_CAUSE.
"""

import os
import time
from array import array

import ffi
import uctypes
from micropython import const

_ROM_SIZE = const(1024 * 1024)
_O_RDONLY = const(0)
_O_RDWR = const(2)
_O_CREAT = const(0o100)
_SEEK_END = const(2)
_PROT_READ_WRITE = const(3)
_MAP_SHARED = const(1)
_MS_SYNC = const(4)
_ITIMER_REAL = const(0)
_EXIT_RESET = const(3)  # what `gateway` takes for a reset
_ID_SIZE = const(6)
_PAGE = const(4096)  # of the memory, for msync
_WRITTEN = const(1760000000)  # s since 1970, October 2025

_libc = ffi.open(None)
_open = _libc.func("i", "open", "sii")
_close = _libc.func("i", "close", "i")
_fsync = _libc.func("i", "fsync", "i")
_seek = _libc.func("l", "lseek", "ili")
_truncate = _libc.func("i", "ftruncate", "il")
_mmap = _libc.func("p", "mmap", "pliiil")
_msync = _libc.func("i", "msync", "pli")
_setitimer = _libc.func("i", "setitimer", "iPP")


class Watchdog:
    """SIGALRM ends the process when feed() is not called in time; Python code cannot catch it."""

    def __init__(self, timeout_ms):
        # struct itimerval: no repetition, then the first expiry
        self._time = array("l", (0, 0, timeout_ms // 1000, timeout_ms % 1000 * 1000))
        self.feed()

    def feed(self):
        if _setitimer(_ITIMER_REAL, self._time, None) != 0:
            raise OSError(os.errno())


class Board:
    name = "unix"
    arch = ""
    BLOCK = 4096
    LOADER_SIZE = 0  # the loader is in files
    slots = "file"  # where images are stored unless /tg/boot.json says otherwise
    folder = "/tg"  # where the loader and the agent find their files

    def __init__(self):
        self._root = os.getenv("TIDEGATE_ROOT") or os.getcwd()
        self._address = 0
        self._map()

    def unique_id(self):
        """6 random bytes, made at the first start and stored beside the ROM segment."""
        path = self._root + "/unique_id"
        view = _mapped(path, _ID_SIZE)[1]
        if bytes(view) == bytes(_ID_SIZE):
            view[:] = os.urandom(_ID_SIZE)
        return bytes(view)

    def reset(self):
        raise SystemExit(_EXIT_RESET)

    def reset_cause(self):
        """One of "power-on", "hard", "watchdog" and "unknown": how the last process ended, says
        `gateway`.
        """
        return os.getenv("TIDEGATE_RESET_CAUSE") or "power-on"

    def watchdog(self, timeout_ms):
        """Starts the watchdog and returns the object to feed(). It cannot be stopped."""
        return Watchdog(timeout_ms)

    def network_up(self):
        """Does nothing: the operating system manages the network."""

    def link(self):
        return True

    def rom_size(self):
        return _ROM_SIZE

    def rom(self):
        """The ROM segment, mapped. Only rom_write may write to it; no hardware enforces that."""
        return self._rom

    def rom_erase(self, offset, length):
        """Sets whole blocks to 0xff. Raises OSError for anything else."""
        if offset % self.BLOCK or length % self.BLOCK:
            raise OSError(22)
        self._check(offset, length)
        blank = b"\xff" * self.BLOCK
        for at in range(offset, offset + length, self.BLOCK):
            self._rom[at : at + self.BLOCK] = blank
        self._sync(offset, length)

    def rom_write(self, offset, buf):
        """Writes any number of bytes; a write only clears bits, as on NOR. Raises OSError."""
        length = len(buf)
        self._check(offset, length)
        old = int.from_bytes(self._rom[offset : offset + length], "little")
        new = old & int.from_bytes(buf, "little")
        self._rom[offset : offset + length] = new.to_bytes(length, "little")
        self._sync(offset, length)

    def sync(self, folder):
        """Makes files that were created or renamed in a folder durable. Raises OSError."""
        file = _open(self._root + folder, _O_RDONLY, 0)
        if file < 0:
            raise OSError(os.errno(), folder)
        failed = _fsync(file)
        _close(file)
        if failed:
            raise OSError(os.errno(), folder)

    def clock(self):
        """Seconds since 1970; None if the system's clock was never set."""
        seconds = int(time.time())
        return seconds if seconds > _WRITTEN else None

    def spawn(self, name, arguments, cpu_s, memory):
        """Starts a program of the system, without a shell; returns a boot.process.Process."""
        from boot.process import Process

        return Process(name, arguments, cpu_s, memory)

    def random(self, count):
        return os.urandom(count)

    def _map(self):
        self._address, self._rom = _mapped(self._root + "/rom.bin", _ROM_SIZE, b"\xff" * _PAGE)

    def _check(self, offset, length):
        if not 0 <= offset <= offset + length <= _ROM_SIZE:
            raise OSError(22)

    def _sync(self, offset, length):
        """Waits for the disk: after a power cut the boot record must be true."""
        start = offset // _PAGE * _PAGE
        if _msync(self._address + start, offset + length - start, _MS_SYNC) != 0:
            raise OSError(os.errno())


def _mapped(path, size, filling=None):
    """(address, memoryview) of the file at `path`, mapped and shared; a new file is filled with
    `filling`, else zeros.

    Does not use MicroPython's own files, because / may be mounted elsewhere by then.
    """
    file = _open(path, _O_RDWR | _O_CREAT, 0o600)
    if file < 0:
        raise OSError(os.errno(), path)
    try:
        new = _seek(file, 0, _SEEK_END) != size
        if new and _truncate(file, size) != 0:
            raise OSError(os.errno(), path)
        address = _mmap(0, size, _PROT_READ_WRITE, _MAP_SHARED, file, 0)
        if address in (-1, 2**64 - 1, 2**32 - 1):  # MAP_FAILED
            raise OSError(os.errno(), path)
    finally:
        _close(file)
    view = memoryview(uctypes.bytearray_at(address, size))
    if new and filling:
        for at in range(0, size, len(filling)):
            view[at : at + len(filling)] = filling
    return address, view
