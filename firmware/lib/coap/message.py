"""CoAP messages as bytes (RFC 7252 section 3). No I/O here, and no allocation for a message.

Codes are decimal numbers: 2.05 is 205, 4.04 is 404, GET is 1. Options are pairs (number, value), a
value being bytes or an int; a list of them is sorted by number, as `insert` does.
"""

from array import array

try:
    from micropython import const
except ImportError:  # CPython

    def const(value):
        return value


# What Message.decode says. Names with an underscore cost a board nothing; who needs these has them
# too, and those of a message's kinds: 0 CON, 1 NON, 2 ACK, 3 RST.
_GOOD = const(0)
_IGNORED = const(1)  # no CoAP message of version 1: no answer to it
_MALFORMED = const(2)  # kind and mid are set; a CON is answered with a reset (section 4.2)

_MAX_OPTIONS = const(24)  # in a received message; one with more is malformed

# The options that are understood, five bytes each: number (2), shortest and longest value,
# whether it may be repeated (RFC 7252 section 5.10, 7641, 7959, 9175, 7967).
_KNOWN = (
    b"\x00\x01\x00\x08\x01"  # If-Match
    b"\x00\x03\x01\xff\x00"  # Uri-Host
    b"\x00\x04\x01\x08\x01"  # ETag
    b"\x00\x05\x00\x00\x00"  # If-None-Match
    b"\x00\x06\x00\x03\x00"  # Observe
    b"\x00\x07\x00\x02\x00"  # Uri-Port
    b"\x00\x08\x00\xff\x01"  # Location-Path
    b"\x00\x0b\x00\xff\x01"  # Uri-Path
    b"\x00\x0c\x00\x02\x00"  # Content-Format
    b"\x00\x0e\x00\x04\x00"  # Max-Age
    b"\x00\x0f\x00\xff\x01"  # Uri-Query
    b"\x00\x11\x00\x02\x00"  # Accept
    b"\x00\x14\x00\xff\x01"  # Location-Query
    b"\x00\x17\x00\x03\x00"  # Block2
    b"\x00\x1b\x00\x03\x00"  # Block1
    b"\x00\x1c\x00\x04\x00"  # Size2
    b"\x00\x3c\x00\x04\x00"  # Size1
    b"\x00\xfc\x01\x28\x00"  # Echo
    b"\x01\x02\x00\x01\x00"  # No-Response
    b"\x01\x24\x00\x08\x01"  # Request-Tag
)


def insert(options, number, value):
    """Adds an option to a sorted list, after those with the same number."""
    at = len(options)
    while at and options[at - 1][0] > number:
        at -= 1
    options.insert(at, (number, value))


def encode(buf, kind, code, mid, token, options, payload=None):
    """Writes a message to the front of buf (bytearray); returns its size.

    Raises ValueError if buf is too short (some options may be refused up to four bytes early) or
    the options are out of order.
    """
    limit = len(buf)
    if limit < 4 + len(token):
        raise ValueError("no room for a CoAP header in %d bytes" % limit)
    buf[0] = 0x40 | kind << 4 | len(token)
    buf[1] = code // 100 << 5 | code % 100
    buf[2] = mid >> 8
    buf[3] = mid & 255
    at = 4
    for byte in token:
        buf[at] = byte
        at += 1
    last = 0
    for option in options:
        number = option[0]
        value = option[1]
        whole = isinstance(value, int)
        size = 0
        if number < 0 or number > 65535 or (whole and value < 0):
            raise ValueError("option %d: its number is 0 to 65535, a value not negative" % number)
        if whole:
            while value >> (size << 3):
                size += 1
        else:
            size = len(value)
        if at + 5 + size > limit or number < last:
            raise ValueError(
                "options out of order"
                if number < last
                else "a CoAP message that does not fit its buffer of %d bytes" % limit
            )
        head = at
        at = _put_extended(buf, head, at + 1, number - last, 4)
        at = _put_extended(buf, head, at, size, 0)
        if whole:
            while size:
                size -= 1
                buf[at] = value >> (size << 3) & 255
                at += 1
        else:
            for byte in value:
                buf[at] = byte
                at += 1
        last = number
    if payload is not None and len(payload):
        size = at + 1 + len(payload)
        if size > limit:
            raise ValueError("a CoAP message of %d bytes for a buffer of %d" % (size, limit))
        buf[at] = 0xFF
        buf[at + 1 : size] = payload
        at = size
    return at


def _put_extended(buf, head, at, value, shift):
    """Writes a delta or a length (section 3.1), its nibble to buf[head]; returns the end."""
    if value < 13:
        nibble = value
    elif value < 269:
        nibble = 13
        buf[at] = value - 13
        at += 1
    else:
        nibble = 14
        buf[at] = value - 269 >> 8
        buf[at + 1] = value - 269 & 255
        at += 2
    buf[head] = nibble << 4 if shift else buf[head] | nibble
    return at


class Message:
    """A received message, decoded in place: valid until its buffer is written to again.

    kind, code, mid: from its header. payload_at, size: where the payload begins and ends.
    refused: number of the first critical option that is unknown, 0 if there is none.
    """

    def __init__(self):
        self._numbers = array("H", bytes(2 * _MAX_OPTIONS))
        self._places = array("H", bytes(2 * _MAX_OPTIONS))
        self._sizes = array("H", bytes(2 * _MAX_OPTIONS))
        self._count = self._token_size = 0
        self.buf = b""
        self.kind = self.code = self.mid = self.payload_at = self.size = self.refused = 0

    def decode(self, buf, size):
        """Decodes the first size bytes of buf; returns 0: valid, 1: to ignore, 2: to reject."""
        self._count = self._token_size = self.refused = 0
        if size < 4 or buf[0] >> 6 != 1:
            return _IGNORED
        self.buf = buf
        self.kind = buf[0] >> 4 & 3
        self.mid = buf[2] << 8 | buf[3]
        code = buf[1]
        self.code = (code >> 5) * 100 + (code & 31)
        self.size = self.payload_at = size
        tokens = buf[0] & 15
        at = 4 + tokens
        # Code classes 1, 6 and 7 are reserved; an empty message is its header alone.
        if tokens > 8 or at > size or code >> 5 in (1, 6, 7) or (not code and size > 4):
            return _MALFORMED
        self._token_size = tokens
        number = 0
        while at < size:
            head = buf[at]
            at += 1
            if head == 0xFF:
                self.payload_at = at
                return _GOOD if at < size else _MALFORMED
            delta = head >> 4
            length = head & 15
            if delta == 15 or length == 15:
                return _MALFORMED
            # Both are followed by up to two bytes, which must be there.
            more = (delta - 12 if delta > 12 else 0) + (length - 12 if length > 12 else 0)
            if at + more > size:
                return _MALFORMED
            if delta > 12:
                if delta == 13:
                    delta = buf[at] + 13
                    at += 1
                else:
                    delta = (buf[at] << 8 | buf[at + 1]) + 269
                    at += 2
            if length > 12:
                if length == 13:
                    length = buf[at] + 13
                    at += 1
                else:
                    length = (buf[at] << 8 | buf[at + 1]) + 269
                    at += 2
            number += delta
            if number > 65535 or at + length > size or not self._keep(number, at, length):
                return _MALFORMED
            at += length
        return _GOOD

    def _keep(self, number, at, length):
        """Adds an option; returns False if there are too many."""
        good = not number & 1  # an unknown elective option may be the application's own
        for known in range(0, len(_KNOWN), 5):
            if _KNOWN[known] << 8 | _KNOWN[known + 1] == number:
                good = _KNOWN[known + 2] <= length <= _KNOWN[known + 3]
                again = self._count and self._numbers[self._count - 1] == number
                if again and not _KNOWN[known + 4]:
                    good = False
                break
        if not good:  # as good as unrecognised (section 5.4.3 and 5.4.5)
            if number & 1 and not self.refused:
                self.refused = number
            return True
        count = self._count
        if count == _MAX_OPTIONS:
            return False
        self._numbers[count] = number
        self._places[count] = at
        self._sizes[count] = length
        self._count = count + 1
        return True

    def has_token(self, token):
        """Whether its token is these bytes."""
        if self._token_size != len(token):
            return False
        at = 4
        for byte in token:
            if self.buf[at] != byte:
                return False
            at += 1
        return True

    def token(self):
        return bytes(self.buf[4 : 4 + self._token_size])

    def payload(self):
        """A view of the payload."""
        return memoryview(self.buf)[self.payload_at : self.size]

    def uint(self, number, default=None):
        """The value of an option that is a number, or default if it is absent."""
        for index in range(self._count):
            if self._numbers[index] == number:
                value = 0
                at = self._places[index]
                for place in range(at, at + self._sizes[index]):
                    value = value << 8 | self.buf[place]
                return value
        return default

    def values(self, number=None):
        """The values (bytes) of all options of that number; without one, all as pairs."""
        found = []
        for index in range(self._count):
            at = self._places[index]
            value = bytes(self.buf[at : at + self._sizes[index]])
            if number is None:
                found.append((self._numbers[index], value))
            elif self._numbers[index] == number:
                found.append(value)
        return found
