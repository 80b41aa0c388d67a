"""The log on the device: the last lines of the console, bounded, stored over resets.

Lines gather in RAM and go to the file system many at a time; an error goes there at once, with
what came before it. Two files of one flash block each: when the newer is full it replaces the
older, so that between 4 and 8 KiB are there. Flash wear is bounded whatever is logged: after a
burst, one write in ten minutes. In between the oldest lines in RAM give way, and are counted.
"""

from gate.clock import const

_ROOM = const(512)  # bytes of lines in RAM
_LINE = const(160)  # bytes of one line's text
_FILE = const(4096)  # bytes of one file
_BURST = const(12)  # writes that may follow each other at once
_REFILL_S = const(600)  # after that, one more every so often
_QUIET_S = const(900)  # lines wait in RAM at most so long
_MARKS = "EID"  # of the levels in console

NEW = "new"
OLD = "old"


class Log:
    """lost: lines that were never written; writes: of the file system, since the start."""

    def __init__(self, files, uptime):
        """files: SmallFiles of a folder of the log's own."""
        self.files = files
        self._uptime = uptime
        self._lines = bytearray(_ROOM)
        self._used = 0
        self._since = 0  # when the oldest line in RAM came, s
        self._tokens = _BURST
        self._counted = 0  # when they were, s
        self._size = files.size(NEW)
        self.lost = self.writes = 0

    def add(self, level, text):
        """One line; as console's keeper. Raises nothing."""
        try:
            now = self._uptime.seconds()
            line = "%d %s %s" % (now, _MARKS[level], text.replace("\n", " "))
            line = line.encode()[:_LINE] + b"\n"
            if self._used + len(line) > _ROOM and not self.write(now):
                self._make_room(len(line))
            if not self._used:
                self._since = now
            self._lines[self._used : self._used + len(line)] = line
            self._used += len(line)
            if not level:
                self.write(now)
        except MemoryError:
            self.lost += 1

    def poll(self):
        """Called every second or so: the uptime goes on, and what waited for long is written."""
        now = self._uptime.seconds()
        if self._used and now - self._since >= _QUIET_S:
            self.write(now)

    def save(self):
        """Before a reset: writes what is in RAM, whatever it costs."""
        self._tokens = max(self._tokens, 1)
        self.write(self._uptime.seconds())

    def waiting(self):
        """The lines in RAM, bytes."""
        return bytes(self._lines[: self._used])

    def write(self, now):
        """Whether nothing waits any more."""
        earned = (now - self._counted) // _REFILL_S
        if earned:
            self._tokens = min(_BURST, self._tokens + earned)
            self._counted += earned * _REFILL_S
        if not self._used:
            return True
        if not self._tokens:
            return False
        self._tokens -= 1
        try:
            if self._size + self._used > _FILE:
                self.files.move(NEW, OLD)
                self._size = 0
            with open(self.files.path(NEW), "ab") as file:
                file.write(memoryview(self._lines)[: self._used])
        except (OSError, MemoryError):  # said to nobody: it would come here again
            return False
        self._size += self._used
        self._used = 0
        self.writes += 1
        return True

    def _make_room(self, size):
        """The oldest lines give way."""
        at = 0
        while self._used - at + size > _ROOM:
            at = self._lines.find(b"\n", at) + 1
            self.lost += 1
        self._lines[: self._used - at] = self._lines[at : self._used]
        self._used -= at
