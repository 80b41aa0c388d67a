"""What a session defines on the board; names begin with _tg so that they cannot meet anything else."""

CODE = """
import os, sys, hashlib, binascii
_tg_feed = lambda: None
def _tg_look(path):
    try:
        f = open(path, 'rb')
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
        if not size & 0x3fff:
            _tg_feed()
    f.close()
    return binascii.hexlify(h.digest()).decode(), size
def _tg_digest(path):
    return _tg_look(path)[0]
def _tg_read(path, most):
    try:
        with open(path, 'rb') as f:
            return f.read(most)
    except OSError:
        return None
def _tg_list(path):
    found = []
    path = path.rstrip('/')
    try:
        entries = list(os.ilistdir(path or '/'))
    except OSError:
        return found
    for entry in entries:
        inner = path + '/' + entry[0]
        found += _tg_list(inner) if entry[1] & 0x4000 else [inner]
    return found
def _tg_drop(path):
    try:
        folder = os.stat(path)[0] & 0x4000
    except OSError:
        return
    if folder:
        for entry in list(os.ilistdir(path)):
            _tg_drop(path + '/' + entry[0])
        os.rmdir(path)
    else:
        os.remove(path)
    _tg_feed()
def _tg_folder(path):
    try:
        os.mkdir(path)
    except OSError as e:
        if e.errno != 17:
            raise
"""
