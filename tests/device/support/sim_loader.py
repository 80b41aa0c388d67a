"""A simulated board for tests of the loader alone, with the kind of slots this run of the script is about."""

import os

import check
import scratch
from sim_board import SimBoard

_open = []  # the Files of the last board: one at a time, as it stands in for open() on CPython


def kind():
    """ "rom" or "file"."""
    return check.settings.get("slots", "rom")


def board(blocks=10):
    """A blank SimBoard; with file slots its files tear with its flash."""
    close()
    if kind() == "rom":
        return SimBoard(scratch.folder(), blocks)
    from sim_files import Files

    made = SimBoard("", blocks, "file")
    made.files = Files(made)
    _open.append(made.files)
    made.folder = made.files.folder + "/tg"
    os.mkdir(made.folder)
    return made


def close():
    while _open:
        _open.pop().close()


try:
    import atexit

    atexit.register(close)
except ImportError:  # MicroPython, where the files are in RAM
    pass
