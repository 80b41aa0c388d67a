"""The loader's entry, on boards that store the loader in files."""

import os

# A new loader from flashing, whole and checked; it replaces the old one at the next start.
_NEXT = "boot.next"


def _drop(path):
    for entry in list(os.ilistdir(path)):
        inner = path + "/" + entry[0]
        if entry[1] & 0x4000:
            _drop(inner)
        else:
            os.remove(inner)
    os.rmdir(path)


def _replace_loader():
    try:
        os.stat(_NEXT)
    except OSError:  # as nearly always
        return
    try:
        _drop("boot")
    except OSError:  # it was removed before
        pass
    os.rename(_NEXT, "boot")


_replace_loader()
try:
    from boot import loader
except ImportError as error:
    print("tidegate: safe mode: no loader (%r)" % error)
    print("tidegate: flash the board again over this port (tidegate flash); the REPL is yours")
else:
    loader.main()
