"""The Board of boards with stock MicroPython (its ports rp2, stm32 and mimxrt).

It has the methods of boards/qemu_mps2/board.py. A board.py derives from it, or from one of the
classes that do, and sets what differs: name, arch, interface and, where needed, the constants.
"""

import os
import time

import machine
from micropython import const

_ENODEV = const(19)
_CAUSES = {
    "PWRON_RESET": "power-on",
    "HARD_RESET": "hard",
    "WDT_RESET": "watchdog",
    "DEEPSLEEP_RESET": "hard",
    "SOFT_RESET": "soft",
}
_EPOCH_1970 = 0 if time.gmtime(0)[0] == 1970 else 946684800  # ports count from 1970 or from 2000


class Stock:
    interface = "lan"  # "wlan", "lan", "both" or "wiznet5k": boot.wlan.open_interface
    BLOCK = 4096
    LOADER_SIZE = 0  # the loader is in files
    slots = "file"  # where images are stored unless boot.json says otherwise
    folder = "/tg"  # where the loader and the agent find their files
    LONGEST_MS = 8388  # of the watchdog

    def __init__(self):
        self._net = self.open_network()

    def open_network(self):
        """The interface: up(), joined(), addresses(). A board without one brings a stand-in."""
        from boot.wlan import open_interface

        return open_interface(self.interface, self.folder)

    def unique_id(self):
        """The microcontroller's own number, 8 or 12 bytes."""
        return machine.unique_id()

    def reset(self):
        machine.reset()

    def reset_cause(self):
        """One of "power-on", "hard", "watchdog", "soft" and "unknown"; some ports know fewer."""
        cause = machine.reset_cause()
        for name, word in _CAUSES.items():
            if getattr(machine, name, None) == cause:
                return word
        return "unknown"

    def watchdog(self, timeout_ms):
        """Starts the watchdog and returns the object to feed(); it cannot be stopped. timeout_ms:
        at most LONGEST_MS.
        """
        return machine.WDT(timeout=min(timeout_ms, self.LONGEST_MS))

    def know_time(self, seconds):
        """Sets the clock to at least so many seconds after 1970: TLS refuses certificates that
        ended before.
        """
        seconds -= _EPOCH_1970
        if time.time() < seconds:
            year, month, day, hour, minute, second, weekday = time.gmtime(seconds)[:7]
            machine.RTC().datetime((year, month, day, weekday, hour, minute, second, 0))

    def network_up(self):
        """Joins the wireless LAN of the settings, or starts Ethernet; returns at once. Harmless
        when it is up.
        """
        self._net.up()

    def link(self):
        """Whether the interface has an address."""
        return self._net.joined()

    def addresses(self):
        return self._net.addresses()

    def rom_size(self):
        return 0

    def rom(self):
        raise OSError(_ENODEV)

    def rom_erase(self, offset, length):
        raise OSError(_ENODEV)

    def rom_write(self, offset, buf):
        raise OSError(_ENODEV)

    def sync(self, folder):
        """Makes files that were created or renamed in a folder durable."""
        if hasattr(os, "sync"):
            os.sync()

    def random(self, count):
        """`count` bytes from the microcontroller's generator."""
        return os.urandom(count)


class WithSegment(Stock):
    """A board whose firmware may have a ROM segment; without one images are stored in files."""

    def __init__(self, segment):
        """segment: has size, view(), erase(offset, length) and write(offset, buf)."""
        Stock.__init__(self)
        self._segment = segment
        self.slots = "rom" if segment.size else "file"

    def rom_size(self):
        return self._segment.size

    def rom(self):
        return self._segment.view()

    def rom_erase(self, offset, length):
        self._segment.erase(offset, length)

    def rom_write(self, offset, buf):
        self._segment.write(offset, buf)
