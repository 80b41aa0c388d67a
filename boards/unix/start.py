"""Runs a gateway with its folder TIDEGATE_ROOT as the file system, as on a board.

`gateway` starts it to run main.py; `tidegate flash unix:FOLDER` with statements in TIDEGATE_RUN.
"""

import os
import sys

import ffi
import vfs

_libc = ffi.open(None)
_rename = _libc.func("i", "rename", "ss")
_umask = _libc.func("i", "umask", "i")


class Root:
    """The folder as a file system: VfsPosix, but for rename.

    In MicroPython 1.25 a VfsPosix with a root builds both names of a rename in one buffer, and so
    renames the new name to itself. (Not a subclass: the core would take it for the C structure.)
    """

    def __init__(self, folder):
        self._folder = folder
        self._here = "/"
        real = self._real = vfs.VfsPosix(folder)
        self.mount, self.umount, self.open, self.stat = (
            real.mount,
            real.umount,
            real.open,
            real.stat,
        )
        self.statvfs, self.ilistdir, self.getcwd = real.statvfs, real.ilistdir, real.getcwd
        self.mkdir, self.rmdir, self.remove = real.mkdir, real.rmdir, real.remove

    def chdir(self, path):
        self._real.chdir(path)
        self._here = self._absolute(path)

    def rename(self, old, new):
        if _rename(self._folder + self._absolute(old), self._folder + self._absolute(new)) != 0:
            raise OSError(os.errno())

    def _absolute(self, path):
        return path if path.startswith("/") else self._here.rstrip("/") + "/" + path


try:
    import ssl  # noqa: F401
except ImportError:  # Debian's MicroPython has TLS, but not under its usual name
    import tls

    sys.modules["ssl"] = tls

_umask(0o77)  # of the files made here some are secret: key, claim, credentials
folder = os.getenv("TIDEGATE_ROOT") or os.getcwd()
vfs.umount("/")
vfs.mount(Root(folder), "/")
os.chdir("/")
sys.path[:] = ["", ".frozen", "/lib"]
exec(os.getenv("TIDEGATE_RUN") or "import main", {"__name__": "__main__"})
