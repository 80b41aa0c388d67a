"""Slots in a ROM segment: two ranges that are executed in place, behind the two blocks of the boot
record and the loader's range (LOADER_SIZE bytes, 0 on boards that store the loader in files).
"""

from boot import const, slots

_PAGE = const(256)  # bytes a write: a multiple of every flash's smallest write we know of


class Slots:
    def __init__(self, board):
        self._board = board
        self._first = 2 * board.BLOCK + board.LOADER_SIZE
        # half of what is left, in whole blocks
        self.capacity = (board.rom_size() - self._first) // 2 // board.BLOCK * board.BLOCK

    def offset(self, index):
        """Where the slot begins in the segment."""
        return self._first + index * self.capacity

    def image(self, index, size):
        """The Image in a slot."""
        start = self.offset(index)
        return Image(self._board.rom()[start : start + size])

    def digest(self, index, size, feed):
        """SHA-256 of the first `size` bytes of a slot."""
        return self.image(index, size).digest(feed)

    def writer(self, index, size, feed):
        slots.check_size(size, self.capacity)
        return Writer(self._board, "slot " + slots.NAMES[index], self.offset(index), size, feed)

    def read_record(self, copy, size):
        start = copy * self._board.BLOCK
        return bytes(self._board.rom()[start : start + size])

    def write_record(self, copy, data):
        self._board.rom_erase(copy * self._board.BLOCK, self._board.BLOCK)
        self._board.rom_write(copy * self._board.BLOCK, data)


class Image:
    """An image in the segment, in place."""

    def __init__(self, view):
        self._view = view
        self.size = len(view)

    def close(self):
        pass

    def view(self):
        """The image, a memoryview."""
        return self._view

    def readinto(self, offset, buf):
        """Fills buf from the image, starting at offset."""
        buf[:] = self._view[offset : offset + len(buf)]

    def digest(self, feed):
        """SHA-256 of the image."""
        return slots.digest(self._view, feed)

    def file_system(self):
        """The image's files, to be mounted: run in place, or, where MicroPython was built without
        VfsRom, loaded into RAM.
        """
        import vfs

        if hasattr(vfs, "VfsRom"):
            return vfs.VfsRom(self._view)
        from boot.romfs import FileSystem

        return FileSystem(self)


class Writer:
    """Writes one image into a range of the segment, in order; the first page last, after the rest
    was read back and found right.

    A range that was cut half-way therefore has no ROMFS header, and nothing mounts it.
    """

    def __init__(self, board, name, start, size, feed):
        """name: of the range, for errors; start: where it begins, at a block."""
        self._board = board
        self._feed = feed
        self._name = name
        self._start = start
        self._size = size
        self._image = board.rom()[start : start + size]
        self._first = bytearray(_PAGE)
        self._page = bytearray(_PAGE)
        self._view = memoryview(self._page)
        self._fill = 0  # bytes waiting in the page
        self._done = 0  # bytes of whole pages before it
        self._erased = 0
        self._erase_block()  # the old header goes before anything else changes

    def write(self, data):
        """Takes the next bytes, any buffer."""
        if self._done + self._fill + len(data) > self._size:
            raise slots.SlotError("image is longer than the %d bytes announced" % self._size)
        at = 0
        while at < len(data):
            count = min(len(data) - at, _PAGE - self._fill)
            self._view[self._fill : self._fill + count] = data[at : at + count]
            self._fill += count
            at += count
            if self._fill == _PAGE:
                self._flush()

    def finish(self, digest):
        """Compares the SHA-256 of the slot, read back, with `digest`, then writes the first page,
        and reads that back. Raises SlotError.
        """
        if self._done + self._fill != self._size:
            raise slots.SlotError(
                "image ended after %d of %d bytes" % (self._done + self._fill, self._size)
            )
        self._flush()
        self._check(slots.digest(self._image, self._feed, self._first) == digest)
        slots.check_firmware(self._board, self._first)
        self._board.rom_write(self._start, self._first)
        self._check(self._image[:_PAGE] == self._first)

    def _check(self, right):
        if not right:
            raise slots.SlotError("%s read back is not the announced image" % self._name)

    def _flush(self):
        if self._done == 0:
            self._first[:] = self._page
        elif self._fill:
            while self._erased < self._done + self._fill:
                self._erase_block()
            self._board.rom_write(self._start + self._done, self._view[: self._fill])
        self._done += self._fill
        self._fill = 0

    def _erase_block(self):
        self._feed()
        self._board.rom_erase(self._start + self._erased, self._board.BLOCK)
        self._erased += self._board.BLOCK
