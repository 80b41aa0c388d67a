"""Deterministic CBOR (RFC 8949 section 4.2.1) into a buffer of the caller, item by item.

    writer = Writer(bytearray(64))
    writer.map(2)
    writer.int(1)
    writer.text(b"Cel")
    writer.int(2)
    writer.float(21.5)
    socket.send(writer.view())

Nothing is allocated: not while integers stay below 2**30, and not for text of ASCII or text given
as the bytes of its UTF-8, which is quicker. The order of a map's keys, and that as many items
follow as a head said, is the caller's to get right.
"""

from cbor import CborError, floats, utf8

try:
    from micropython import const
except ImportError:

    def const(value):
        return value


_ARRAY = const(0x80)
_MAP = const(0xA0)
_TAG = const(0xC0)
_BYTES_LIKE = (bytes, bytearray, memoryview)


class Writer:
    """at: where the next byte goes. An item that does not fit raises CborError and leaves `at`
    where it was; a float asks for the room of the longest.
    """

    def __init__(self, buf, at=0, end=None):
        """buf: bytearray or writable memoryview; at, end: the part of it to write to."""
        self.begin(buf, at, end)

    def begin(self, buf, at=0, end=None):
        """Starts over, in this buffer."""
        self.buf = buf
        self.start = self.at = at
        self.end = len(buf) if end is None else end

    def view(self):
        """What was written, as a memoryview of the buffer."""
        return memoryview(self.buf)[self.start : self.at]

    def array(self, count):
        self._head(_ARRAY, count)

    def map(self, count):
        self._head(_MAP, count)

    def tag(self, number):
        """The next item is its content."""
        if number in (2, 3):
            raise CborError("bignums are not written")
        self._head(_TAG, number)

    def int(self, number):
        """Any integer of up to 64 bits and its sign."""
        if not isinstance(number, int):
            raise CborError("an integer is wanted, not %s" % type(number).__name__)
        if number >= 0:
            self._head(0x00, number)
        else:
            self._head(0x20, -1 - number)

    def bool(self, value):
        self._room(1)
        self.buf[self.at] = 0xF5 if value else 0xF4
        self.at += 1

    def null(self):
        self._room(1)
        self.buf[self.at] = 0xF6
        self.at += 1

    def bytes(self, data):
        if not isinstance(data, _BYTES_LIKE):
            raise CborError("a byte string is bytes-like, not %s" % type(data).__name__)
        self._string(0x40, data, b"")

    def text(self, text, more=b""):
        """Text, as str or as the bytes of its UTF-8; with `more` (bytes) after it, so that a name
        need not be put together first.
        """
        if isinstance(text, str):
            start = self.at
            self._string(0x60, b"", more, len(text))
            at = self.at - len(text) - len(more)
            for char in text:
                code = ord(char)
                if code > 0x7F:
                    break
                self.buf[at] = code
                at += 1
            else:
                return
            self.at = start
            text = utf8(text)
        elif not isinstance(text, _BYTES_LIKE):
            raise CborError("text is str or bytes-like, not %s" % type(text).__name__)
        self._string(0x60, text, more)

    def float(self, number):
        self._room(floats.SIZE)
        self.at = floats.put(self.buf, self.at, number)

    def ratio(self, number, divisor):
        """number / divisor, integers below 2**127, divisor above 0: an integer where they divide
        evenly, else the nearest float of single precision. No float is made on the way.
        """
        if not (isinstance(number, int) and isinstance(divisor, int) and divisor > 0):
            raise CborError("a ratio is of whole numbers, the second above 0")
        if number >> 127 not in (0, -1) or divisor >> 127:
            raise CborError("a ratio of numbers beyond 127 bits")
        if number % divisor:
            self._room(floats.SIZE)
            self.at = floats.put_ratio(self.buf, self.at, number, divisor)
        else:
            self.int(number // divisor)

    def raw(self, data):
        """Bytes as they are: items that were encoded before."""
        self._room(len(data))
        self._copy(data)

    def _string(self, major, data, more, ahead=0):
        """Head, room for `ahead` bytes, and the bytes of both."""
        size = ahead + len(data) + len(more)
        # The head of so long a string has 1, 2, 3 or 5 bytes.
        self._room(size + (1 if size < 24 else 2 if size < 0x100 else 3 if size < 0x10000 else 5))
        start = self.at
        self._head(major, size)
        self.at += ahead
        try:
            self._copy(data)
            self._copy(more)
        except CborError:
            self.at = start
            raise

    def _copy(self, data):
        buf = self.buf
        at = self.at
        for byte in data:  # a slice would be an object
            if byte >> 8:
                raise CborError("a view of items larger than a byte")
            buf[at] = byte
            at += 1
        self.at = at

    def _head(self, major, value):
        """RFC 8949 section 3: the shortest."""
        if not isinstance(value, int) or value < 0:
            raise CborError("a count is a whole number, and not negative")
        size = 0
        if value >= 24:
            size = 1 if value < 0x100 else 2 if value < 0x10000 else 4
            if value >> 31 > 1:  # 2**32 itself would be an object
                size = 8
                if value >> 63 > 1:
                    raise CborError("an integer beyond 64 bits")
        self._room(1 + size)
        buf = self.buf
        at = self.at + size
        self.at = at + 1
        if not size:
            buf[at] = major | value
            return
        buf[at - size] = major | (
            24 if size == 1 else 25 if size == 2 else 26 if size == 4 else 27
        )
        while size:
            buf[at] = value & 0xFF
            value >>= 8
            at -= 1
            size -= 1

    def _room(self, size):
        if self.at + size > self.end:
            raise CborError("%d bytes more do not fit the buffer" % size)
