"""The hardware of the Raspberry Pi Pico, for the loader and the agent."""

from boot.rp2board import Rp2


class Board(Rp2):
    name = "rpi_pico"
    arch = "armv6m"

    def open_network(self):
        return _Unlinked()

    def frozen(self):
        """Digest of the agent's modules that the firmware holds, 8 bytes, or None."""
        try:
            import _tidegate
        except ImportError:  # this MicroPython holds none
            return None
        return _tidegate.frozen()


class _Unlinked:
    """In place of an interface: it has no radio and no Ethernet."""

    def up(self):
        pass

    def joined(self):
        return False

    def addresses(self):
        return {}
