"""Frames of a vehicle's bus, protected from end to end as AUTOSAR's E2E profile 1 does it: byte 0
is a CRC-8 (SAE J1850) over the frame's identifier and the rest, the low half of byte 1 a counter
from 0 to 14. So a frame that was damaged, that stands still, or that was not sent is noticed,
wherever between its source and us that happened.
"""

from gate.clock import const

_JUMP = const(2)  # frames that may be missing between two, without doubt about the second
_COUNTS = const(15)
# CRC-8 with polynomial 0x1D, four bits at a time.
_TABLE = b"\x00\x1d\x3a\x27\x74\x69\x4e\x53\xe8\xf5\xd2\xcf\x9c\x81\xa6\xbb"


class Frame:
    """The newest frame of one identifier, in `data`. damaged, repeated, missed: counts since the
    start.
    """

    def __init__(self, identifier, size, read):
        """read(data) -> bool: puts the newest frame into a bytearray of `size` bytes; False if
        none came.
        """
        self.data = bytearray(size)
        self._identifier = identifier
        self._read = read
        self._counter = None
        self.damaged = self.repeated = self.missed = 0

    def receive(self):
        """True: `data` is a new frame; False: what is there is not to be believed; None: none
        came. Allocates nothing.
        """
        data = self.data
        if not self._read(data):
            return None
        counter = data[1] & 0x0F
        if crc8(data, self._identifier) != data[0] or counter == _COUNTS:
            self.damaged += 1
            return False
        step = 1 if self._counter is None else (counter - self._counter) % _COUNTS
        self._counter = counter
        if step == 0:
            self.repeated += 1
            return False
        self.missed += step - 1
        return step - 1 <= _JUMP


def crc8(data, identifier):
    """The CRC of a frame: over the identifier's low and high byte, then data[1:]."""
    crc = _add(_add(0xFF, identifier & 0xFF), identifier >> 8 & 0xFF)
    for at in range(1, len(data)):
        crc = _add(crc, data[at])
    return crc ^ 0xFF


def _add(crc, byte):
    crc ^= byte
    crc = (crc << 4 & 0xFF) ^ _TABLE[crc >> 4]
    return (crc << 4 & 0xFF) ^ _TABLE[crc >> 4]
