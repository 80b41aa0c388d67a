# Runs before boot.py: mounts littlefs at /, and formats it first on a blank storage.

import mps2
import vfs


def _mount(flash):
    vfs.mount(vfs.VfsLfs2(flash, progsize=128, mtime=False), "/")


def _never_formatted(flash):
    # Formatting writes only the first two blocks, the superblock pair. If they do not mount and
    # all that follow are erased, either nothing was ever written or the power failed during the
    # first format. Anything else is somebody's data, and stays as it is.
    block = bytearray(flash.ioctl(5, 0))
    blank = b"\xff" * len(block)
    for number in range(2, flash.ioctl(4, 0)):
        flash.readblocks(number, block)
        if block != blank:
            return False
    return True


def _start(flash):
    try:
        _mount(flash)
    except OSError as error:
        if _never_formatted(flash):
            vfs.VfsLfs2.mkfs(flash, progsize=128)
            _mount(flash)
        else:
            print("littlefs does not mount:", error)
            print("To erase it: import mps2, vfs; vfs.VfsLfs2.mkfs(mps2.Flash(), progsize=128)")


_start(mps2.Flash())
