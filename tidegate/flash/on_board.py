"""Runs on the board, in MicroPython: what a flashing session defines there before anything else.

The host never imports this file: serial_session.py reads it as text and sends it. Names start with _tg to avoid
collisions with those of the board's own program.
"""

import binascii
import gc
import hashlib
import io
import os
import sys


# Feeds the watchdog; a session replaces it where there is one (Session.feed_watchdog).
def _tg_feed():
    pass


# In work without an answer for long: the session waits as long as something is printed.
def _tg_step():
    _tg_feed()
    print(".", end="")


def _tg_look(path):
    """(SHA-256 in hex, bytes) of a file; (None, 0) if it does not exist."""
    try:
        f = open(path, "rb")  # noqa: SIM115 - an error below must not read as a missing file
    except OSError:
        return None, 0
    h = hashlib.sha256()
    b = bytearray(512)
    m = memoryview(b)
    size = 0
    while True:
        n = f.readinto(b)
        if not n:
            break
        h.update(m[:n])
        size += n
        if not size & 0x3FFF:
            _tg_feed()
    f.close()
    return binascii.hexlify(h.digest()).decode(), size


def _tg_digest(path):
    return _tg_look(path)[0]


def _tg_read(path, most):
    """The first bytes of a file; None if it does not exist."""
    try:
        with open(path, "rb") as f:
            return f.read(most)
    except OSError:
        return None


def _tg_has(module):
    try:
        __import__(module)
    except ImportError:
        return False
    return True


def _tg_inflate(data):
    import deflate

    return deflate.DeflateIO(io.BytesIO(data), deflate.RAW, 11).read()


def _tg_list(path):
    """The files in a folder and those below it."""
    found = []
    path = path.rstrip("/")
    try:
        entries = list(os.ilistdir(path or "/"))
    except OSError:
        return found
    for entry in entries:
        inner = path + "/" + entry[0]
        found += _tg_list(inner) if entry[1] & 0x4000 else [inner]
    return found


def _tg_drop(path):
    """Removes a file, or a folder with all that is in it."""
    try:
        folder = os.stat(path)[0] & 0x4000
    except OSError:
        return
    if folder:
        for entry in list(os.ilistdir(path)):
            _tg_drop(path + "/" + entry[0])
        os.rmdir(path)
    else:
        os.remove(path)
    _tg_feed()


def _tg_folder(path):
    """Makes a folder unless it exists."""
    try:
        os.mkdir(path)
    except OSError as e:
        if e.errno != 17:  # EEXIST
            raise


def _tg_identify(root):
    """(machine, MicroPython's version, .mpy version, file system mounted at `root`, free heap).

    Works on MicroPythons that are too old for Tidegate, too, so that the host can say so.
    """
    i = sys.implementation
    try:
        import vfs

        files = [str(m[0]) for m in vfs.mount() if m[1] == root]
    except (ImportError, TypeError):
        files = []
    gc.collect()
    machine = getattr(i, "_machine", sys.platform)
    return machine, tuple(i[1][:3]), getattr(i, "_mpy", 0), (files or [""])[0], gc.mem_free()
