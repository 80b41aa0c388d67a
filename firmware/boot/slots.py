"""What both kinds of slots (romslots, fileslots) share; boot.storage opens the kind of a board.

A kind is a class Slots(board) with: capacity, bytes a slot holds; image(index, size), an Image;
digest(index, size, feed); writer(index, size, feed); and the two copies of the boot record,
read_record(copy, size) and write_record(copy, data).

An Image has size, bytes; view(), the image as a memoryview; readinto(offset, buf); digest(feed);
close(); and file_system(), which `vfs.mount` takes.
"""

import hashlib
import os

from boot import const

NAMES = "AB"
MIN_SIZE = const(256)  # bytes of an image: its first page is written apart
_CHUNK = const(4096)  # bytes hashed between two feeds of the watchdog
HEAD = const(40)  # bytes of an image that its first file, if it is small, is among
# The name and the content of that file, as records of ROMFS, where modules were left out.
_FROZEN = b"\x06FROZEN\x02\x08"
_DIGEST = const(8)
_FOLDER = "/slots"


class SlotError(Exception):
    """The image does not fit the slot, or reads back different; the text says which."""

    firmware = False  # whether it is this board's MicroPython that the image is not for


class FirmwareError(SlotError):
    """The image leaves out modules that this board's MicroPython does not hold."""

    firmware = True


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


def check_firmware(board, head):
    """Raises FirmwareError for an image whose modules were left out for another MicroPython. head:
    its first HEAD bytes.
    """
    at = bytes(head[:HEAD]).find(_FROZEN)
    if at < 0:
        return
    at += len(_FROZEN)
    own = board.frozen() if hasattr(board, "frozen") else None
    if bytes(head[at : at + _DIGEST]) != own:
        raise FirmwareError("the image is for a MicroPython that holds other modules")


def check_size(size, capacity):
    if not MIN_SIZE <= size <= capacity:
        raise SlotError("image of %d bytes, slot holds %d to %d" % (size, MIN_SIZE, capacity))


# ---------------------------------------------------------------- files beside the slots


def folder(board):
    """The loader's folder for its own files, made if it is missing."""
    path = board.folder + _FOLDER
    for name in (board.folder, path):
        try:
            os.mkdir(name)
        except OSError:  # it exists; if it cannot be made, the write that follows fails
            pass
    return path


def write_file(board, path, data):
    """Replaces the file with `data`: after a power cut it holds the old bytes or the new ones,
    never a mixture. Durable on return.
    """
    with open(path + ".new", "wb") as file:
        file.write(data)
        file.flush()
    os.rename(path + ".new", path)
    board.sync(path[: path.rfind("/")])


def read_file(path, max_size):
    """The file's bytes; b"" if it is missing or larger than `max_size`."""
    try:
        with open(path, "rb") as file:
            data = file.read(max_size + 1)
    except OSError:
        return b""
    return data if len(data) <= max_size else b""


def remove_file(path):
    try:
        os.remove(path)
    except OSError:  # it did not exist
        pass
