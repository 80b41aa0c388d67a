# Frozen in place of MicroPython's own _boot.py: the file system has the first 368 KiB of the
# storage, the slots that are executed in place have the rest (boards/common/rp2flash.py).

import rp2
import vfs

_FILES = 376832


def _is_there(flash):
    # One of this size is damaged, and somebody's data; another size is a stock MicroPython's.
    block = bytearray(4096)
    for number in (0, 1):
        flash.readblocks(number, block)
        if block[8:16] == b"littlefs" and int.from_bytes(block[28:32], "little") == _FILES // 4096:
            return True
    return False


def _start():
    flash = rp2.Flash(start=0, len=_FILES)
    try:
        vfs.mount(vfs.VfsLfs2(flash, progsize=256), "/")
    except OSError as error:
        if _is_there(flash):
            print("littlefs does not mount:", error)
            print("To erase it: import rp2, vfs;")
            print("vfs.VfsLfs2.mkfs(rp2.Flash(start=0, len=376832), progsize=256)")
            return
        vfs.VfsLfs2.mkfs(flash, progsize=256)
        vfs.mount(vfs.VfsLfs2(flash, progsize=256), "/")


_start()
