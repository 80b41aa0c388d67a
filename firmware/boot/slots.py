"""The two slots, whatever they are kept in: what the kinds (romslots, fileslots) have in common.

A kind is a class Slots(board) with: capacity, bytes a slot holds; image(index, size), the image as
a memoryview, to be mounted; digest(index, size, feed); writer(index, size, feed); and the two
copies of the boot record, read_record(copy, size) and write_record(copy, data).
"""

import hashlib
import os

from boot import FILES, const

NAMES = "AB"
LEAST = const(256)  # bytes of an image: its first page is written apart
_CHUNK = const(4096)  # bytes hashed between two feeds of the watchdog
_FOLDER = "/slots"


class SlotError(Exception):
    """The slot cannot take, or did not keep, the image; the text says which."""


def of(board, kind):
    """The board's slots. kind: where they are kept, boot.ROM or boot.FILES."""
    if kind == FILES:
        from boot.fileslots import Slots
    else:
        from boot.romslots import Slots
    return Slots(board)


def no_feed():
    """For work without a watchdog."""


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


def check_size(size, capacity):
    if not LEAST <= size <= capacity:
        raise SlotError("image of %d bytes, slot holds %d to %d" % (size, LEAST, capacity))


# ---------------------------------------------------------------- files beside the slots


def folder(board):
    """The loader's folder for what it keeps in files, made if it is not there."""
    path = board.folder + _FOLDER
    for name in (board.folder, path):
        try:
            os.mkdir(name)
        except OSError:  # it is there; if it cannot be made, the write that follows says so
            pass
    return path


def write_file(board, path, data):
    """Makes the file hold `data`, all or (after a power cut) what it held; durable on return."""
    with open(path + ".new", "wb") as file:
        file.write(data)
        file.flush()
    os.rename(path + ".new", path)
    board.sync(path[: path.rfind("/")])


def read_file(path, most):
    """The file's bytes; b"" if there is none or it has more than `most`."""
    try:
        with open(path, "rb") as file:
            data = file.read(most + 1)
    except OSError:
        return b""
    return data if len(data) <= most else b""


def remove_file(path):
    try:
        os.remove(path)
    except OSError:  # there was none
        pass
