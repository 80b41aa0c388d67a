"""Finds what there is of a ring (gate.telemetry.ring) when it is opened; needed once a start."""

import struct
from binascii import crc32

from gate.clock import const
from gate.files import SmallFiles
from gate.telemetry import ring

_SPAN = const(65536)  # a segment further from the cursor is not ours
_PIECE = const(64)  # bytes checked at a time


def open_ring(folder, most=64, newest=False, sync=None):
    """The ring.Ring in a folder of its own."""
    files = SmallFiles(folder, sync)
    cursor = max(_cursor(files, name) for name in ring.CURSORS)
    counter, first, offset, dropped, reported = cursor
    end, size, last = first + (offset > 0), 0, 0
    numbers = [int(name) for name in files.names() if name.isdigit()]
    for number in numbers:
        if number < first:  # acknowledged; the power went before it was removed
            files.remove(str(number))
    numbers = sorted(number for number in numbers if 0 <= number - first < _SPAN)
    if not numbers:
        first, offset = end, 0
    else:
        if numbers[0] > first:
            first, offset = numbers[0], 0
        end = numbers[-1]
        size, last = _scan(files.path(str(end)))
        if size < files.size(str(end)):
            size = ring.SEGMENT  # a torn end stays the end: what comes goes to a new segment
    cursor = counter, first, offset, dropped, reported
    return ring.Ring(files, cursor, end, size, last, most, newest, sync)


def _cursor(files, name):
    data = files.read(name)
    if data and len(data) == 24 and crc32(data[:20]) == struct.unpack("<I", data[20:])[0]:
        return struct.unpack(ring.CURSOR, data[:20])
    return 0, 0, 0, 0, 0


def _scan(path):
    """(where the last whole record of a segment ends, its stamp)."""
    offset = last = 0
    piece = memoryview(bytearray(_PIECE))
    try:
        with open(path, "rb") as file:
            while True:
                head = ring.head_at(file, offset)
                if not head:
                    break
                left, crc = head[0], ring.check(head, b"")
                while left:
                    count = file.readinto(piece[: min(left, _PIECE)])
                    if not count:
                        return offset, last
                    crc = crc32(piece[:count], crc)
                    left -= count
                if crc != head[3]:
                    break
                offset += ring.OVERHEAD + head[0]
                last = head[2]
    except OSError:
        pass
    return offset, last
