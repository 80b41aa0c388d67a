"""The loader's entry, where the loader is kept in files."""

import os

# A new loader that flashing brought, whole and checked, before it puts it in the place of the old.
_NEXT = "boot.next"


def _drop(path):
    for entry in list(os.ilistdir(path)):
        inner = path + "/" + entry[0]
        if entry[1] & 0x4000:
            _drop(inner)
        else:
            os.remove(inner)
    os.rmdir(path)


def _put_in_place():
    try:
        os.stat(_NEXT)
    except OSError:  # as nearly always
        return
    try:
        _drop("boot")
    except OSError:  # it was gone already
        pass
    os.rename(_NEXT, "boot")


_put_in_place()
try:
    from boot import loader
except ImportError as error:
    print("tidegate: safe mode: no loader (%r)" % error)
    print("tidegate: flash the board again over this port (tidegate flash); the REPL is yours")
else:
    loader.main()
