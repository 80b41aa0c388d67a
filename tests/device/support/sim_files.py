"""The simulated board's file system, cut by the same power as its flash.

On MicroPython it is the real littlefs on a block device in RAM that tears. On CPython it is a folder of the host,
with a cruder disk than littlefs: what was not flushed is lost, a flush may leave half of it, a rename or a removal
happens or does not; in the loader's folder it may be undone by a power cut until the folder was made durable (sync).
"""

import os
import sys

BLOCK = 512
BLOCKS = 128

if sys.implementation.name == "micropython":
    import vfs

    class _Device:
        """A block device with the extended interface, for one boot; then it is dead and does nothing.

        Files that a cut left open are closed by the garbage collector, boots later.
        """

        def __init__(self, board, data, worn):
            self._board = board
            self.data = data
            self.worn = worn
            self.dead = False

        def readblocks(self, block, buf, offset=0):
            if self.dead:
                return
            at = block * BLOCK + offset
            try:
                buf[:] = self.data[at : at + len(buf)]
            except MemoryError:  # the collector closes a file that was left open: it allows no slices
                for place in range(len(buf)):
                    buf[place] = self.data[at + place]

        def writeblocks(self, block, buf, offset=0):
            if self.dead or self._board.down:
                return
            at = block * BLOCK + offset
            if self._board.operation("littlefs write"):
                done = self._board.below(len(buf) + 1)
                self.data[at : at + done] = buf[:done]
                self._board.power_off()
            self.data[at : at + len(buf)] = buf

        def ioctl(self, command, block):
            if command == 4:
                return BLOCKS
            if command == 5:
                return BLOCK
            if command == 6 and not self.dead and not self._board.down:
                at = block * BLOCK
                self.worn[block] += 1
                if self._board.operation("littlefs erase"):
                    done = self._board.below(BLOCK)
                    self.data[at : at + done] = b"\xff" * done
                    self._board.power_off()
                self.data[at : at + BLOCK] = b"\xff" * BLOCK
            return 0

    class Files:
        """The file system at `folder`."""

        folder = "/sim"

        def __init__(self, board):
            self._board = board
            self._data = bytearray(b"\xff" * (BLOCK * BLOCKS))
            self.worn = [0] * BLOCKS  # erases a block
            self._device = _Device(board, self._data, self.worn)
            vfs.VfsLfs2.mkfs(self._device, progsize=32)
            self._mounted = False
            self.power_on()

        def power_on(self):
            """Mounts anew, as each boot does."""
            self.close()
            self._device = _Device(self._board, self._data, self.worn)
            vfs.mount(vfs.VfsLfs2(self._device, progsize=32), self.folder)
            self._mounted = True

        def close(self):
            self._device.dead = True
            if self._mounted:
                vfs.umount(self.folder)
                self._mounted = False

        def sync(self, folder):
            """littlefs keeps what was closed or renamed."""

        def lose(self):
            pass

        def snapshot(self):
            return bytes(self._data)

        def restore(self, snapshot):
            self._data[:] = snapshot
            self.power_on()

else:
    import builtins
    import shutil
    import tempfile

    class _File:
        """A file being written: a bytearray until it is flushed."""

        def __init__(self, board, file):
            self._board = board
            self._file = file
            self._held = b""

        def write(self, data):
            self._held += data.encode() if isinstance(data, str) else bytes(data)
            return len(data)

        def flush(self):
            if not self._held:
                return
            held, self._held = self._held, b""
            if self._board.operation("file write"):
                self._file.write(held[: self._board.below(len(held) + 1)])
                self._file.flush()
                self._board.power_off()
            self._file.write(held)
            self._file.flush()

        def close(self):
            try:
                self.flush()
            finally:
                self._file.close()

        def __enter__(self):
            return self

        def __exit__(self, kind, value, trace):
            if kind and not issubclass(kind, Exception):  # the board went down: nobody closes anything
                self._held = b""
            self.close()

    class Files:
        """The file system at `folder`, while it is open."""

        def __init__(self, board):
            self._board = board
            self._temporary = tempfile.mkdtemp(prefix="tidegate-sim-")
            self.folder = self._temporary + "/files"
            os.mkdir(self.folder)
            self._undo = []  # (folder, function) of each change of a name that is not durable yet
            self._real = builtins.open, os.rename, os.remove
            builtins.open, os.rename, os.remove = self._open, self._rename, self._remove

        def power_on(self):
            pass

        def close(self):
            builtins.open, os.rename, os.remove = self._real
            shutil.rmtree(self._temporary)

        def sync(self, folder):
            self._undo = [entry for entry in self._undo if entry[0] != folder]

        def lose(self):
            """The power is gone: the last changes of names are undone, how many is chance."""
            for _ in range(self._board.below(len(self._undo) + 1)):
                self._undo.pop()[1]()
            self._undo = []

        def snapshot(self):
            found = {}
            for place, _, names in os.walk(self.folder):
                for name in names:
                    path = place + "/" + name
                    with self._real[0](path, "rb") as file:
                        found[path] = file.read()
            return found

        def restore(self, snapshot):
            self._undo = []
            shutil.rmtree(self.folder)
            os.mkdir(self.folder)
            for path, data in snapshot.items():
                os.makedirs(path[: path.rfind("/")], exist_ok=True)
                with self._real[0](path, "wb") as file:
                    file.write(data)

        def _ours(self, path):
            return str(path).startswith(self.folder)

        def _open(self, path, mode="r", *rest, **named):
            if not self._ours(path) or "r" in mode:
                return self._real[0](path, mode, *rest, **named)
            if self._board.operation("file open"):
                self._board.power_off()
            return _File(self._board, self._real[0](path, mode.replace("b", "") + "b", buffering=0))

        def _change(self, path, name, act, other=None):
            if not self._ours(path) or not os.path.exists(path):
                return act()
            cut = self._board.operation(name)
            if not cut or self._board.below(2):
                self._may_undo(*((path, other) if other else (path,)))
                act()
            if cut:
                self._board.power_off()
            return None

        def _may_undo(self, *paths):
            """Notes how to give the names back what they hold now."""
            folder = paths[0][: paths[0].rfind("/")]
            if not folder.endswith("/slots") and not paths[0].startswith(folder + "/trust"):
                return  # what the agent keeps in files need not be durable, but for the trust store
            before = []
            for path in paths:
                data = None
                if os.path.exists(path):
                    with self._real[0](path, "rb") as file:
                        data = file.read()
                before.append((path, data))
            self._undo.append((folder, lambda: self._give_back(before)))

        def _give_back(self, before):
            for path, data in before:
                if data is None:
                    if os.path.exists(path):
                        self._real[2](path)
                    continue
                with self._real[0](path, "wb") as file:
                    file.write(data)

        def _rename(self, old, new):
            return self._change(old, "file rename", lambda: self._real[1](old, new), new)

        def _remove(self, path):
            return self._change(path, "file remove", lambda: self._real[2](path))
