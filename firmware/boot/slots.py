"""The two slots of the ROM segment: where they are, their digest, and the writer that puts the
header last.
"""

import hashlib

from boot import const

_PAGE = const(256)  # bytes a write: a multiple of every flash's smallest write we know of
_CHUNK = const(4096)  # bytes hashed between two feeds of the watchdog

NAMES = "AB"


class SlotError(Exception):
    """The slot cannot take, or did not keep, the image; the text says which."""


def capacity(board):
    """Bytes a slot holds: half of what the boot record's two blocks leave, in whole blocks."""
    return (board.rom_size() - 2 * board.BLOCK) // 2 // board.BLOCK * board.BLOCK


def offset(board, index):
    return 2 * board.BLOCK + index * capacity(board)


def view(board, index, size):
    """The image in a slot, in place."""
    start = offset(board, index)
    return board.rom()[start : start + size]


def digest(data, feed, first=None):
    """SHA-256 of a memoryview; with `first`, of the view with its beginning replaced by it."""
    check = hashlib.sha256()
    at = 0
    if first is not None:
        check.update(first)
        at = len(first)
    while at < len(data):
        feed()
        check.update(data[at : at + _CHUNK])
        at += _CHUNK
    return check.digest()


class Writer:
    """Writes one image into a slot, in order. The first page is kept back until the rest was read
    back and is right.

    A slot that was cut half-way therefore has no ROMFS header, and is no image to anybody.
    """

    def __init__(self, board, index, size, feed):
        if not _PAGE <= size <= capacity(board):
            raise SlotError(
                "image of %d bytes, slot holds %d to %d" % (size, _PAGE, capacity(board))
            )
        self._board = board
        self._feed = feed
        self._index = index
        self._start = offset(board, index)
        self._size = size
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
            raise SlotError("image is longer than the %d bytes announced" % self._size)
        at = 0
        while at < len(data):
            count = min(len(data) - at, _PAGE - self._fill)
            self._view[self._fill : self._fill + count] = data[at : at + count]
            self._fill += count
            at += count
            if self._fill == _PAGE:
                self._flush()

    def finish(self, wanted):
        """Checks what the slot really holds against the SHA-256 `wanted`, then writes the first
        page.
        """
        if self._done + self._fill != self._size:
            raise SlotError(
                "image ended after %d of %d bytes" % (self._done + self._fill, self._size)
            )
        self._flush()
        image = view(self._board, self._index, self._size)
        if digest(image, self._feed, self._first) != wanted:
            raise SlotError("slot %s read back is not the announced image" % NAMES[self._index])
        self._board.rom_write(self._start, self._first)
        if digest(image, self._feed) != wanted:
            raise SlotError("slot %s read back is not the announced image" % NAMES[self._index])

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
