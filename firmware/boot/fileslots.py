"""Slots in two files, for boards without a ROM segment. The image is mounted from its file
(boot.romfs), which is compared with the boot record first and stays open.

The boot record has two files, written in turn, as it has two blocks in a segment.
"""

import hashlib
import os

from boot import const, slots

_MAX_SIZE = const(1024 * 1024)  # bytes of a slot, however large the file system is
_CHUNK = const(1024)  # bytes read at once
_SEEK_END = const(2)
_EIO = const(5)


class Slots:
    def __init__(self, board):
        self._board = board
        self._folder = slots.folder(board)
        # Two slots, a payload being fetched, and half as much again for everything else.
        found = os.statvfs(self._folder)
        self.capacity = min(_MAX_SIZE, found[1] * found[2] * 2 // 7)

    def path(self, index):
        return self._folder + ("/a.img", "/b.img")[index]

    def image(self, index, size):
        """The Image in a slot; raises SlotError."""
        try:
            image = Image(open(self.path(index), "rb"))  # noqa: SIM115 - open as long as it runs
        except OSError as error:
            raise slots.SlotError("slot %s: %r" % (slots.NAMES[index], error))
        if image.size != size:
            image.close()
            raise slots.SlotError("slot %s holds %d bytes" % (slots.NAMES[index], image.size))
        return image

    def digest(self, index, size, feed):
        """SHA-256 of a slot; b"" if it does not hold `size` bytes."""
        return digest_of(self.path(index), size, feed)

    def writer(self, index, size, feed):
        return Writer(self, self._board, index, size, feed)

    def read_record(self, copy, size):
        return slots.read_file(self._record(copy), size)

    def write_record(self, copy, data):
        with open(self._record(copy), "wb") as file:
            file.write(data)
            file.flush()
        self._board.sync(self._folder)

    def _record(self, copy):
        return self._folder + ("/record.0", "/record.1")[copy]


class Image:
    """An open slot. Whatever later takes the slot's name, this reads what was verified.

    size: bytes.
    """

    def __init__(self, file):
        self._file = file
        self.size = file.seek(0, _SEEK_END)

    def readinto(self, offset, buf):
        """Fills buf from the image, starting at offset. Raises OSError."""
        self._file.seek(offset)
        if self._file.readinto(buf) != len(buf):
            raise OSError(_EIO)

    def close(self):
        self._file.close()

    def view(self):
        """A copy of the image in RAM, a memoryview."""
        data = bytearray(self.size)
        self.readinto(0, data)
        return memoryview(data)

    def digest(self, feed):
        """SHA-256 of the image."""
        check = hashlib.sha256()
        buffer = bytearray(_CHUNK)
        view = memoryview(buffer)
        for at in range(0, self.size, _CHUNK):
            feed()
            piece = view[: min(_CHUNK, self.size - at)]
            self.readinto(at, piece)
            check.update(piece)
        return check.digest()

    def file_system(self):
        """The image's files, to be mounted."""
        from boot.romfs import FileSystem

        return FileSystem(self)


class Writer:
    """Writes one image, in order, into a file beside the slot's, which is renamed to the slot's
    name last, after it was read back and found right.

    A slot that was cut half-way therefore does not exist. (Writing the first bytes last, as in a
    ROM segment, would make littlefs write the whole file twice.)
    """

    def __init__(self, board_slots, board, index, size, feed):
        slots.check_size(size, board_slots.capacity)
        self._board = board
        self._feed = feed
        self._name = slots.NAMES[index]
        self._path = board_slots.path(index)
        self._new = self._path + ".new"
        self._size = size
        self._done = 0
        # The old image first: there need not be room for three.
        for path in (self._path, self._new):
            slots.remove_file(path)
        self._file = open(self._new, "wb")  # noqa: SIM115 - closed by finish

    def write(self, data):
        """Takes the next bytes, any buffer."""
        if self._done + len(data) > self._size:
            raise slots.SlotError("image is longer than the %d bytes announced" % self._size)
        self._feed()
        self._file.write(data)
        self._done += len(data)

    def finish(self, digest):
        """Compares the SHA-256 of the file, read back, with `digest`, then renames it. Raises
        SlotError.
        """
        self._file.flush()
        self._file.close()
        if self._done != self._size:
            raise slots.SlotError("image ended after %d of %d bytes" % (self._done, self._size))
        if digest_of(self._new, self._size, self._feed) != digest:
            raise slots.SlotError("slot %s read back is not the announced image" % self._name)
        with open(self._new, "rb") as file:
            slots.check_firmware(self._board, file.read(slots.HEAD))
        os.rename(self._new, self._path)
        # Before the boot record refers to it.
        self._board.sync(self._path[: self._path.rfind("/")])


def digest_of(path, size, feed):
    """SHA-256 of a file of `size` bytes; b"" if there is no such file."""
    try:
        with open(path, "rb") as file:
            image = Image(file)
            return image.digest(feed) if image.size == size else b""
    except OSError:
        return b""
