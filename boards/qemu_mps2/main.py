"""The loader's entry. The loader is one ROMFS image in the ROM segment, behind the two blocks of
the boot record, and is executed in place: from files its bytecode would take 12 KB of RAM.
"""

import sys

import vfs

_AT = 2 * 4096  # [slots] of board.toml

try:
    vfs.mount(vfs.VfsRom(vfs.rom_ioctl(2, 0)[_AT:]), "/loader")
    sys.path.insert(0, "/loader")
    from boot import loader
except (OSError, ImportError) as error:
    print("tidegate: safe mode: no loader (%r)" % error)
    print("tidegate: flash the board again over this port (tidegate flash); the REPL is yours")
else:
    loader.main()
