"""The agent's own small files: each is replaced as a whole, by writing beside it and renaming.

A rename is atomic on littlefs and POSIX, and littlefs makes a closed file durable, so after a
power cut a file is the old one or the new one.
"""

import os

import cbor

from gate import console
from gate.clock import const

_MAX_SIZE = const(8192)  # bytes; nothing the agent keeps in one small file is larger
_NEW = ".new"


class SmallFiles:
    """Small files in one folder, by name.

    sync(folder): the board's; with it a file is durable when write returns, on any file system.
    """

    def __init__(self, folder, sync=None):
        self.folder = folder
        self._sync = sync
        make_folder(folder)

    def path(self, name):
        return self.folder + "/" + name

    def size(self, name):
        """Bytes of a file, 0 if there is none."""
        try:
            return os.stat(self.path(name))[6]
        except OSError:
            return 0

    def read(self, name):
        """The file's bytes, or None if there is none (or it is too large to be ours)."""
        try:
            with open(self.path(name), "rb") as file:
                if file.seek(0, 2) > _MAX_SIZE:
                    return None
                file.seek(0)
                return file.read()
        except OSError:
            return None

    def write(self, name, data):
        """Replaces the file; raises OSError and leaves the old one if it cannot."""
        new = self.path(name) + _NEW
        with open(new, "wb") as file:
            file.write(data)
            if self._sync:
                file.flush()
        os.rename(new, self.path(name))
        if self._sync:
            self._sync(self.folder)

    def move(self, name, other):
        """Renames a file; `other`, if there is one, is gone. Raises OSError."""
        os.rename(self.path(name), self.path(other))

    def remove(self, name):
        try:
            os.remove(self.path(name))
        except OSError:
            pass

    def names(self):
        return os.listdir(self.folder)

    def load(self, name, default=None):
        """The object in a CBOR file; the default if there is none or it is damaged (which is
        said).
        """
        data = self.read(name)
        if data is None:
            return default
        try:
            return cbor.loads(data, _MAX_SIZE)
        except cbor.CborError as error:
            console.error("%s is damaged (%s) and not used", self.path(name), error)
            return default

    def store(self, name, value):
        self.write(name, cbor.dumps(value))


def make_folder(path):
    """Makes the folder and those above it."""
    try:
        os.stat(path)
        return
    except OSError:  # as on a new board
        pass
    made = ""
    for part in path.split("/"):
        made += part
        if part:
            try:
                os.mkdir(made)
            except OSError:  # it is there; if it cannot be made, the first write says so
                pass
        made += "/"
