"""The hardware of the emulated MPS2 board, for the loader and the agent."""

import os

import machine
import mps2
import network
import vfs
from micropython import const

_SEGMENT = const(0)
_GET_SEGMENT = const(2)  # operations of vfs.rom_ioctl
_PREPARE = const(3)
_WRITE = const(4)

_CAUSES = {
    machine.PWRON_RESET: "power-on",
    machine.HARD_RESET: "hard",
    machine.WDT_RESET: "watchdog",
    machine.SOFT_RESET: "soft",
    machine.FAULT_RESET: "fault",
}


class Board:
    name = "qemu_mps2"
    arch = "armv7m"
    BLOCK = 4096
    LOADER_SIZE = 65536  # bytes for the loader, behind the boot record's two blocks
    slots = "rom"  # where images are stored unless /tg/boot.json says otherwise
    folder = "/tg"  # where the loader and the agent find their files

    def __init__(self):
        self._lan = network.LAN()
        self._rom = vfs.rom_ioctl(_GET_SEGMENT, _SEGMENT)

    def unique_id(self):
        """6 bytes: the MAC address."""
        return machine.unique_id()

    def reset(self):
        machine.reset()

    def reset_cause(self):
        """One of "power-on", "hard", "watchdog", "soft", "fault" (HardFault ...) and "unknown"."""
        return _CAUSES.get(machine.reset_cause(), "unknown")

    def fault(self):
        """Where the core was when a fault or the watchdog ended the last run: a line or None."""
        return mps2.fault()

    def frozen(self):
        """Digest of the agent's modules that the firmware holds, 8 bytes, or None."""
        return mps2.frozen() if hasattr(mps2, "frozen") else None

    def watchdog(self, timeout_ms):
        """Starts the watchdog and returns the object to feed(); it cannot be stopped. timeout_ms:
        1 to 171798.
        """
        return machine.WDT(timeout=timeout_ms)

    def network_up(self):
        """Starts the interface and DHCP; returns at once. Harmless when it is up."""
        self._lan.active(True)

    def link(self):
        """Whether the interface has an address."""
        return self._lan.isconnected()

    def addresses(self):
        """The answer of DHCP and the MAC address, a dict."""
        address, mask, gateway, dns = self._lan.ifconfig()
        mac = self._lan.config("mac").hex(":")
        return {"address": address, "mask": mask, "gateway": gateway, "dns": dns, "mac": mac}

    def know_time(self, seconds):
        """Sets the time to at least so many seconds after 1970: TLS refuses certificates that
        ended before. The board has no clock of its own; the time counts until the next reset.
        """
        mps2.know_time(seconds)

    def rom_size(self):
        return len(self._rom)

    def rom(self):
        """The ROM segment, memory mapped: a read-only view."""
        return self._rom

    def rom_erase(self, offset, length):
        """Sets whole blocks to 0xff. Raises OSError for anything else."""
        if length % self.BLOCK:
            raise OSError(22)
        _check(vfs.rom_ioctl(_PREPARE, _SEGMENT, offset, length))

    def rom_write(self, offset, buf):
        """Writes any number of bytes into erased space; a write can only clear bits. Raises
        OSError.
        """
        _check(vfs.rom_ioctl(_WRITE, _SEGMENT, offset, buf))

    def sync(self, folder):
        """Does nothing: littlefs has made files in the folder durable already."""

    def random(self, count):
        """`count` bytes from os.urandom; README.md says how good they are."""
        return os.urandom(count)


def _check(result):
    if result < 0:
        raise OSError(-result)
