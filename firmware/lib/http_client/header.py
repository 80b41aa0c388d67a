"""The header of an HTTP/1.1 answer (RFC 9112), line by line: whatever caches and proxies in front
of a server add to it, it needs no more room than its longest line that counts.
"""

from aiotcp import const

MAX_HEADER = const(16384)  # bytes of status line and header fields, interim answers included

_FIELDS = (
    b"content-length",
    b"content-range",
    b"transfer-encoding",
    b"content-encoding",
    b"location",
    b"retry-after",
)


class HttpError(Exception):
    """A request failed. status: HTTP's, or 0 if the answer is missing, cut short or malformed;
    retry_after: seconds that the server asked to wait, or None.
    """

    def __init__(self, status, text, retry_after=None):
        super().__init__(("HTTP %d: " % status if status else "") + text)
        self.status = status
        self.retry_after = retry_after


class Header:
    """status: 0 until it is known; fields: lower-case name -> value, of _FIELDS."""

    def __init__(self):
        self._begin()
        self._size = 0

    def _begin(self):
        self.status = 0
        self.fields = {}
        self._last = None

    def line(self, line):
        """Takes one line, bytes without its end; whether it was the last. Raises HttpError."""
        self._size += len(line) + 2
        if self._size > MAX_HEADER:
            raise HttpError(0, "a header of more than %d bytes" % MAX_HEADER)
        if b"\r" in line or b"\0" in line:
            raise HttpError(0, "a malformed header field")
        if not self.status:
            self._status_line(line)
        elif not line:
            if self.status >= 200 or self.status == 101:
                return True
            self._begin()  # an interim answer (RFC 9110 section 15.2)
        elif line[:1] in (b" ", b"\t"):  # a folded line (RFC 9112 section 5.2)
            if self._last:
                self.fields[self._last] += b" " + line.strip()
        else:
            self._field(line)
        return False

    def long_line(self, line):
        """Takes the beginning of a line that is too long for the buffer."""
        name = line.partition(b":")[0].lower()
        if not self.status or name in _FIELDS:
            raise HttpError(self.status, "a header field too long for the buffer")
        self._size += len(line)
        self._last = None

    def _status_line(self, line):
        version, _, rest = line.partition(b" ")
        status = rest.split(b" ")[0]
        if not version.startswith(b"HTTP/1.") or len(status) != 3 or not status.isdigit():
            raise HttpError(0, "not an HTTP/1 answer")
        self.status = int(status)
        if not 100 <= self.status < 600:
            raise HttpError(0, "not an HTTP/1 answer")

    def _field(self, line):
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or not name or name != name.strip():
            raise HttpError(0, "a malformed header field")
        self._last = None
        if name in _FIELDS:
            value = value.strip()
            if self.fields.get(name, value) != value:
                raise HttpError(0, "two different " + str(name, "utf-8"))
            self.fields[name] = value
            self._last = name

    # ------------------------------------------------------------ what the fields say

    def number(self, text, name):
        """The value of a header field that is a number."""
        if not text or len(text) > 9 or not text.isdigit():
            raise HttpError(self.status, "missing or malformed " + name)
        return int(text)

    def length(self):
        """Content-Length, None without one. A proxy may have made one of several equal ones."""
        text = self.fields.get(b"content-length")
        if text is None:
            return None
        parts = [part.strip() for part in text.split(b",")]
        if any(part != parts[0] for part in parts):
            raise HttpError(0, "two different content-length")
        return self.number(parts[0], "Content-Length")

    def chunked(self):
        """Whether the body comes in chunks (RFC 9112 section 7.1); else it is as it is."""
        coding = self.fields.get(b"content-encoding", b"identity").lower()
        transfer = self.fields.get(b"transfer-encoding")
        if coding != b"identity" or (transfer is not None and transfer.lower() != b"chunked"):
            raise HttpError(self.status, "an encoded body")
        return transfer is not None

    def span(self):
        """(first byte, byte after the last, bytes of the whole) of a 206 (RFC 9110, 14.4)."""
        unit, _, rest = self.fields.get(b"content-range", b"").partition(b" ")
        ends, _, whole = rest.strip().partition(b"/")
        first, _, last = ends.partition(b"-")
        start, last, total = [
            self.number(text.strip(), "Content-Range") for text in (first, last, whole)
        ]
        if unit.lower() != b"bytes" or not start <= last < total:
            raise HttpError(206, "not the requested range")
        return start, last + 1, total

    def refusal(self):
        """The HttpError for a status that is none of those expected."""
        after = self.fields.get(b"retry-after")
        if after is None or not after.isdigit() or len(after) > 7:  # a date needs a clock
            after = None
        return HttpError(self.status, "unexpected status", after and int(after))
