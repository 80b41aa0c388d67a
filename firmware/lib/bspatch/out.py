"""The output of a patch: what bspatch and bspatch.adaptive share."""


class PatchError(ValueError):
    """The patch is damaged, is not a patch, or does not fit this old image."""


class Out:
    """The output buffer: a ring of pieces. A piece is written when room is needed, not when it is
    full, so that the last byte can still be changed; the piece before it stays unchanged.
    """

    def __init__(self, read_old, write, buf, piece):
        """piece: bytes written at once; buf (bytearray) holds one piece or more."""
        self._read_old = read_old
        self._write = write
        self._buf = buf
        self._view = memoryview(buf)
        self._piece = piece
        self._start = 0  # of the piece at work
        self._end = piece
        self._held = 0

    def flush(self):
        held = self._held
        if held > self._start:
            self._write(self._view[self._start : held])
            if held == len(self._buf):
                held = 0
            self._start = self._held = held
            self._end = held + self._piece

    def room(self, size):
        """A view of the next free bytes, at most `size` of them, which the caller fills."""
        if self._held == self._end:
            self.flush()
        start = self._held
        self._held = min(start + size, self._end)
        return self._view[start : self._held]

    def copy(self, at, count, change):
        """Copies count bytes of the old image from `at`; change is added to the last of them."""
        read_old = self._read_old
        view = self._view
        while count:
            start = self._held
            if start == self._end:  # flush(), without the call
                self._write(view[self._start : start])
                if start == len(view):
                    start = 0
                self._start = start
                self._end = start + self._piece
            held = start + count
            if held > self._end:
                held = self._end
            read_old(at, view[start:held])
            self._held = held
            held -= start
            at += held
            count -= held
        if change:
            self._buf[self._held - 1] = self._buf[self._held - 1] + change & 255

    def again(self, distance, count):
        """Repeats bytes written `distance` bytes back (a piece at most, `count` at least), as many
        as there is room for in one go; returns how many.
        """
        start = self._held if self._held < self._end else self._end % len(self._buf)
        back = (start - distance) % len(self._buf)
        view = self.room(min(count, len(self._buf) - back))
        view[:] = self._view[back : back + len(view)]
        return len(view)

    def literal(self, ops, count):
        """Writes the next count bytes of the patch, from ops.readinto(view)."""
        while count:
            view = self.room(count)
            ops.readinto(view)
            count -= len(view)
