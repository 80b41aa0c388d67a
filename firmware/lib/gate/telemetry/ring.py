"""A queue of records on the file system, for what could not be sent yet: bounded, in order,
whole after every power cut.

Records are appended to segments, files of at most 4 KiB named by rising numbers; what was read
and acknowledged is said by a cursor, in two small files that are written in turn, each with a
counter and a CRC. A segment whose records are all acknowledged is removed. Nothing is ever
changed in place, so on littlefs every step is done or not done; elsewhere a torn end is found by
the CRC of its record and costs that record alone.
"""

import struct
from binascii import crc32

from gate import console
from gate.clock import const

OVERHEAD = const(11)  # bytes a record takes beside its content
_HEAD = "<HBII"  # size of the content, kind, stamp, CRC-32 of these and of the content
_CHECKED = const(7)  # bytes of the head that the CRC covers
SEGMENT = const(4096)  # bytes; one block of the usual flash
CURSOR = "<IIIII"  # counter, segment, offset, dropped, reported
CURSORS = "ab"  # the names of the cursor's files


class Ring:
    """dropped: records lost for want of room, ever; reported: how many of them the telemetry has
    reported; lost: {kind: records} lost since this start; last: stamp of the newest
    record; removed: records that left at the old end since this start.
    """

    def __init__(self, files, cursor, end, size, last, most=64, newest=False, sync=None):
        """Made by gate.telemetry.ring_recovery.open_ring, which finds the rest. files: SmallFiles
        of a folder of the ring's own; most: segments; newest: what goes when it is full, else the
        oldest; sync(folder): the board's, see SmallFiles.
        """
        self._files = files
        self._sync = sync
        self._most = most
        self.newest = newest
        self.lost = {}
        self.removed = 0
        self._counter, self._first, self._offset, self.dropped, self.reported = cursor
        self._end, self._size, self.last = end, size, last

    def __bool__(self):
        """Whether there may be a record."""
        return self._first < self._end or self._offset < self._size

    def write(self, buf, size):
        """Appends whole records, buf[:size], made with `frame`; their CRCs are filled in here. One
        write of the file system, however many there are. False: full, and the oldest stay. Raises
        OSError.
        """
        at = 0
        while at < size:
            head = struct.unpack_from(_HEAD, buf, at)
            end = at + OVERHEAD + head[0]
            crc = check(head, memoryview(buf)[at + OVERHEAD : end])
            struct.pack_into("<I", buf, at + _CHECKED, crc)
            at = end
        fresh = self._size + size > SEGMENT
        if fresh and self._end - self._first + 1 >= self._most:
            if self.newest:
                return False
            self._drop()
        try:
            self._append(buf, size, fresh)
        except OSError:  # no room on the file system, most likely
            if self.newest or self._first == self._end:
                raise
            self._drop()
            self._append(buf, size, True)
        return True

    def read(self, buf, at):
        """Puts the content of the oldest record at buf[at:]. (size, kind, stamp), or None if there
        is none.
        """
        while self:
            head = None
            try:
                with open(self._path(self._first), "rb") as file:
                    head = head_at(file, self._offset)
                    if head and at + head[0] <= len(buf):
                        view = memoryview(buf)[at : at + head[0]]
                        if file.readinto(view) < head[0]:
                            head = None  # a torn end
                        elif check(head, view) == head[3]:
                            return head[:3]
            except OSError:  # there is none of this number
                head = None
            if head:  # all of it is there, and wrong
                console.error("segment %d of the ring is damaged", self._first)
                self.count(head[1])
            self._leave()
        return None

    def done(self):
        """The oldest record is acknowledged; it is gone for good when this returns. Raises
        OSError.
        """
        with open(self._path(self._first), "rb") as file:
            head = head_at(file, self._offset)
        self.removed += 1
        self._offset += OVERHEAD + (head[0] if head else 0)
        if self._offset < self._files.size(str(self._first)):
            self.save()
        else:
            self._leave()

    def count(self, kind, records=1):
        """Counts records that are lost."""
        self.dropped += records
        self.lost[kind] = self.lost.get(kind, 0) + records

    def save(self):
        """Writes the cursor. Raises OSError."""
        self._counter += 1
        name = CURSORS[self._counter & 1]
        cursor = (self._counter, self._first, self._offset, self.dropped, self.reported)
        data = struct.pack(CURSOR, *cursor)
        with open(self._files.path(name), "wb") as file:
            file.write(data + struct.pack("<I", crc32(data)))
            if self._sync:
                file.flush()

    # ------------------------------------------------------------ segments

    def _append(self, buf, size, fresh):
        if fresh:
            self._end += 1
            self._size = 0
        with open(self._path(self._end), "ab") as file:
            began, self._size = self._size, SEGMENT  # a write that fails may leave a torn end
            file.write(memoryview(buf)[:size])
            if self._sync:
                file.flush()
        if self._sync and not began:
            self._sync(self._files.folder)
        self._size = began + size

    def _drop(self):
        """Gives up the oldest segment."""
        try:
            with open(self._path(self._first), "rb") as file:
                while True:
                    head = head_at(file, self._offset)
                    if not head:
                        break
                    self.count(head[1])
                    self.removed += 1
                    self._offset += OVERHEAD + head[0]
        except OSError as error:
            console.error("segment %d of the ring: %s", self._first, error)
        self._leave()

    def _leave(self):
        """On to the next segment; the cursor first, so that nothing is sent twice."""
        old = self._first
        self._first += 1
        self._offset = 0
        if old == self._end:
            self._end, self._size = self._first, 0
        self.save()
        self._files.remove(str(old))

    def _path(self, number):
        return self._files.path(str(number))


def frame(buf, at, size, kind, stamp):
    """Writes a record's head at buf[at:], before its content of `size` bytes; where that ends.
    kind: 0 to 255, stamp: an integer, both the caller's. Allocates nothing.
    """
    struct.pack_into(_HEAD, buf, at, size, kind, stamp, 0)
    return at + OVERHEAD + size


def first(buf):
    """(size, kind, stamp) of the record at the start of buf."""
    return struct.unpack_from(_HEAD, buf)[:3]


def head_at(file, offset):
    """A record's head as a tuple, None where there is none."""
    file.seek(offset)
    data = file.read(OVERHEAD)
    return struct.unpack(_HEAD, data) if len(data) == OVERHEAD else None


def check(head, content):
    """The CRC of a head and this content."""
    return crc32(content, crc32(struct.pack(_HEAD, head[0], head[1], head[2], 0)[:_CHECKED]))
