"""A read-only file system over a ROMFS image that is not mapped into memory, or on a MicroPython
without VfsRom (extmod/vfs_rom.c, which has the format).

MicroPython imports through it, and only what is imported takes RAM. The loader verifies the whole
image before it is mounted; the checks below only keep a damaged one from an endless loop.
"""

import io

from boot import const

_MAGIC = b"\xd2\xcd\x31"
_HEAD = const(80)  # bytes read for the head of a record: its kind, its length, its name
_MAX_NAME = const(64)  # bytes; a longer name is never found

# kinds of records
_DATA = const(2)
_POINTER = const(3)
_FOLDER = const(4)
_FILE = const(5)

_ENOENT = const(2)
_EIO = const(5)
_EISDIR = const(21)
_EINVAL = const(22)
_EROFS = const(30)
_S_IFDIR = const(0x4000)
_S_IFREG = const(0x8000)

# requests of a stream's ioctl
_CLOSE = const(4)
_BUFFER_SIZE = const(11)
_PIECE = const(255)  # bytes that an import reads at once, the most that MicroPython takes


class FileSystem:
    """What `vfs.mount` takes."""

    def __init__(self, image):
        """image: an Image (boot.slots). Raises OSError if it is not a ROMFS."""
        self._image = image
        self._head = bytearray(_HEAD)
        self._view = memoryview(self._head)
        self._end = image.size
        self._read_head(0)
        if self._head[:3] != _MAGIC:
            raise OSError(_EINVAL)
        size, at = self._number(3)
        if at + size > image.size:
            raise OSError(_EINVAL)
        self._root = (at, at + size)
        # The folder that was looked into last: modules are found in it one after the other.
        self._path = ""
        self._folder = self._root

    # ------------------------------------------------------------ what vfs calls

    def mount(self, readonly, mkfs):
        pass

    def umount(self):
        pass

    def chdir(self, path):
        if path.strip("/"):
            raise OSError(_ENOENT)

    def getcwd(self):
        return "/"

    def stat(self, path):
        kind, start, stop = self._find(path)
        mode = _S_IFDIR if kind == _FOLDER else _S_IFREG
        return (mode, 0, 0, 0, 0, 0, stop - start, 0, 0, 0)

    def statvfs(self, path):
        return (1, 0, self._end, 0, 0, 0, 0, 0, 0, _MAX_NAME)

    def ilistdir(self, path):
        """(name, type, 0, size) of each entry."""
        kind, at, stop = self._find(path)
        if kind != _FOLDER:
            raise OSError(_ENOENT)
        while at < stop:
            kind, at_name, name_size, end = self._record(at, stop)
            if kind in (_FOLDER, _FILE):
                name = self._head[at_name - at : at_name - at + name_size].decode()
                if kind == _FOLDER:
                    yield name, _S_IFDIR, 0, 0
                else:
                    start, size = self._content(at_name + name_size, end)
                    yield name, _S_IFREG, 0, size
            at = end

    def open(self, path, mode):
        """A File; for text an io.StringIO of all of it."""
        if "w" in mode or "a" in mode or "+" in mode or "x" in mode:
            raise OSError(_EROFS)
        kind, start, stop = self._find(path)
        if kind == _FOLDER:
            raise OSError(_EISDIR)
        file = File(self._image, start, stop - start)
        return file if "b" in mode else io.StringIO(file.read().decode())

    # ------------------------------------------------------------ records

    def _find(self, path):
        """(kind, first byte, byte behind the last) of a folder's records or a file's content.
        Raises OSError.
        """
        path = path.strip("/")
        parent, _, name = path.rpartition("/")
        if not name:
            return (_FOLDER,) + self._root
        if parent != self._path:
            self._folder = self._root  # whatever goes wrong now, path and folder fit each other
            self._path = ""
            if parent:
                kind, start, stop = self._find(parent)
                if kind != _FOLDER:
                    raise OSError(_ENOENT)
                self._folder = start, stop
                self._path = parent
        return self._look(name.encode(), *self._folder)

    def _look(self, name, at, stop):
        """As _find, for a name in the folder whose records are at..stop."""
        size = len(name)
        while size <= _MAX_NAME and at < stop:
            kind, at_name, name_size, end = self._record(at, stop)
            if (
                kind in (_FOLDER, _FILE)
                and name_size == size
                and self._view[at_name - at : at_name - at + size] == name
            ):
                at_name += size
                if kind == _FOLDER:
                    return kind, at_name, end
                start, size = self._content(at_name, end)
                return kind, start, start + size
            at = end
        raise OSError(_ENOENT)

    def _record(self, at, stop):
        """(kind, where its name begins, length of the name, byte behind it) of the record at `at`;
        of a record without a name only kind and end mean something. The name is in _head.
        """
        self._read_head(at)
        kind, next = self._number(0)
        size, next = self._number(next)
        end = at + next + size
        if end > stop:
            raise OSError(_EIO)
        name_size = 0
        if kind in (_FOLDER, _FILE):
            name_size, next = self._number(next)
            if at + next + name_size > end:
                raise OSError(_EIO)
        return kind, at + next, name_size, end

    def _content(self, at, stop):
        """(first byte, size) of the content of the file whose records are at..stop."""
        while at < stop:
            kind, start, _, end = self._record(at, stop)
            if kind == _DATA:
                return start, end - start
            if kind == _POINTER:
                size, next = self._number(start - at)
                start = self._number(next)[0]
                if start + size > self._end:
                    raise OSError(_EIO)
                return start, size
            at = end
        raise OSError(_EIO)

    def _read_head(self, at):
        count = min(_HEAD, self._end - at)
        self._image.readinto(at, self._view[:count])
        for spare in range(count, _HEAD):
            self._head[spare] = 0

    def _number(self, at):
        """(value, place behind it) of the number at `at` in _head: base 128, the highest first."""
        value = 0
        for place in range(at, min(at + 5, _HEAD)):
            byte = self._head[place]
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value, place + 1
        raise OSError(_EIO)


class File(io.IOBase):
    """A file of the image, to be read as bytes."""

    def __init__(self, image, start, size):
        self._image = image
        self._start = start
        self._size = size
        self._at = 0

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        pass

    def readinto(self, buf):
        count = min(len(buf), self._size - self._at)
        if count > 0:
            self._image.readinto(self._start + self._at, memoryview(buf)[:count])
            self._at += count
        return max(count, 0)

    def read(self, size=-1):
        left = max(0, self._size - self._at)
        data = bytearray(left if size is None or size < 0 else min(size, left))
        self.readinto(data)
        return bytes(data)

    def seek(self, offset, whence=0):
        at = offset + (0, self._at, self._size)[whence]
        if at < 0:
            raise OSError(_EINVAL)
        self._at = at
        return at

    def tell(self):
        return self._at

    def close(self):
        pass

    def ioctl(self, request, argument):
        if request == _CLOSE:
            return 0
        if request == _BUFFER_SIZE:
            return _PIECE
        return -_EINVAL
