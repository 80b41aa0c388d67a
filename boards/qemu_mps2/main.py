"""The loader's entry. The loader is one ROMFS image in the ROM segment, behind the two blocks of
the boot record, and is executed in place: from files its bytecode would take 12 KB of RAM.
"""

import sys

import vfs

_AT = 2 * 4096  # [slots] of board.toml
_STAGED = "/tg/flash.loader"  # where flashing puts a new loader, whole, before it writes it


def _mount(image):
    vfs.mount(vfs.VfsRom(image), "/loader")
    sys.path.insert(0, "/loader")


def _write_staged():
    """The power went while flashing wrote the loader: it is written now, by itself."""
    import hashlib
    import os

    import machine

    image = bytearray(os.stat(_STAGED)[6])
    with open(_STAGED, "rb") as file:
        file.readinto(image)
    _mount(image)
    from boot import board, flash

    flash.install_loader(board.Board(), _STAGED, hashlib.sha256(image).digest())
    os.remove(_STAGED)
    machine.reset()


try:
    try:
        _mount(vfs.rom_ioctl(2, 0)[_AT:])
    except OSError:
        _write_staged()
    from boot import loader
except (OSError, ImportError) as error:
    print("tidegate: safe mode: no loader (%r)" % error)
    print("tidegate: flash the board again over this port (tidegate flash); the REPL is yours")
else:
    loader.main()
