"""Deterministic CBOR out, strict CBOR in (RFC 8949 section 4.2.1).

    data = cbor.dumps({1: "on", 2: [21.5, None]})
    value = cbor.loads(data)

Types: int (64-bit), bool, None, float, str, bytes, list, dict, Tag. `loads` accepts exactly
what `dumps` writes, so dumps(loads(data)) == data for every accepted data: definite lengths,
shortest heads and floats, map keys unique and in the bytewise order of their encodings, one NaN
(f97e00), valid UTF-8, nothing after the item. Bignum tags, undefined and unassigned simple values
are refused. Lengths and counts are compared with the rest of the input, and with the limits,
before anything is allocated. On a port without floats `loads` refuses floats. `cbor.writer`
encodes without the heap.
"""

from cbor import floats

try:
    from micropython import const
except ImportError:

    def const(value):
        return value


__version__ = "0.3.0"

# Default limits of loads; they fit a signed update manifest.
MAX_SIZE = const(2048)
MAX_DEPTH = const(8)
MAX_ITEMS = const(256)
# The deepest nesting that dumps writes: a list that contains itself must raise CborError, not
# exhaust the stack.
_MAX_NESTING = const(16)

# Major types, RFC 8949 section 3.1, in place: the top three bits of the first byte.
_UINT = const(0x00)
_NINT = const(0x20)
_BYTES = const(0x40)
_TEXT = const(0x60)
_ARRAY = const(0x80)
_MAP = const(0xA0)
_TAG = const(0xC0)
_FALSE = const(0xF4)
_TRUE = const(0xF5)
_NULL = const(0xF6)
_HALF = const(0xF9)
_DOUBLE = const(0xFB)

try:
    FLOAT = float
except NameError:  # a port without; isinstance takes this, too
    FLOAT = ()


class CborError(ValueError):
    """The bytes are not deterministic CBOR within the limits, or the object has no encoding."""


class Tag:
    """A tagged item (major type 6)."""

    def __init__(self, tag, value):
        self.tag = tag
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Tag) and self.tag == other.tag and self.value == other.value

    def __repr__(self):
        return "Tag(%d, %r)" % (self.tag, self.value)


def dumps(obj):
    """The deterministic encoding of obj, as bytes. bytearray and memoryview become byte strings,
    tuples become arrays. Raises CborError for other types, integers beyond 64 bits and nesting
    deeper than 16.
    """
    out = bytearray()
    _write(out, obj, _MAX_NESTING)
    return bytes(out)


def is_uint(value):
    """Whether a decoded item is an unsigned integer, which True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def loads(buf, max_size=MAX_SIZE, max_depth=MAX_DEPTH, max_items=MAX_ITEMS, views=False):
    """Decodes the one item in buf (bytes-like). Raises CborError.

    max_size: bytes; max_depth: arrays, maps and tags around an item; max_items: all items, map
    keys included. Map keys are int, str or bytes. views: byte strings, except map keys, are
    returned as memoryviews of buf instead of copies, so buf must not change while they are in use.
    """
    if len(buf) > max_size:
        raise CborError("%d bytes of CBOR, at most %d are taken" % (len(buf), max_size))
    reader = _Reader(memoryview(buf), max_items, views)
    obj = reader.item(max_depth)
    if reader.at != len(buf):
        raise CborError("%d bytes after the CBOR item" % (len(buf) - reader.at))
    return obj


def _write(out, obj, depth):
    if depth < 0:
        raise CborError("nested too deep to encode")
    # bool before int: in Python a bool is an int.
    if obj is None:
        out.append(_NULL)
    elif obj is False or obj is True:
        out.append(_TRUE if obj else _FALSE)
    elif isinstance(obj, int):
        if obj >= 0:
            _write_head(out, _UINT, obj)
        else:
            _write_head(out, _NINT, -1 - obj)
    elif isinstance(obj, (bytes, bytearray, memoryview)):
        # A memoryview counts in its own items; what goes out is bytes.
        data = bytes(obj)
        _write_head(out, _BYTES, len(data))
        out.extend(data)
    elif isinstance(obj, str):
        data = utf8(obj)
        _write_head(out, _TEXT, len(data))
        out.extend(data)
    elif isinstance(obj, (list, tuple)):
        _write_head(out, _ARRAY, len(obj))
        for item in obj:
            _write(out, item, depth - 1)
    elif isinstance(obj, dict):
        _write_head(out, _MAP, len(obj))
        pairs = []
        for key, value in obj.items():
            if isinstance(key, bool) or not isinstance(key, (int, str, bytes)):
                raise CborError("a map key is an int, str or bytes, not %r" % (key,))
            encoded = bytearray()
            _write(encoded, key, 0)
            pairs.append((bytes(encoded), value))
        pairs.sort(key=lambda pair: pair[0])
        for encoded, value in pairs:
            out.extend(encoded)
            _write(out, value, depth - 1)
    elif isinstance(obj, FLOAT):
        out.extend(floats.encode(obj))
    elif isinstance(obj, Tag):
        _check_tag(obj.tag)
        _write_head(out, _TAG, obj.tag)
        _write(out, obj.value, depth - 1)
    else:
        raise CborError("%s has no CBOR encoding here" % type(obj).__name__)


def _write_head(out, major, value):
    if value < 24:
        out.append(major | value)
    elif value < 0x100:
        out.append(major | 24)
        out.append(value)
    elif value < 0x10000:
        out.append(major | 25)
        out.extend(value.to_bytes(2, "big"))
    elif value < 0x100000000:
        out.append(major | 26)
        out.extend(value.to_bytes(4, "big"))
    elif value < 0x10000000000000000:
        out.append(major | 27)
        out.extend(value.to_bytes(8, "big"))
    else:
        raise CborError("an integer beyond 64 bits")


def _check_tag(tag):
    if tag in (2, 3):
        raise CborError("bignums are not taken")
    if tag < 0:
        raise CborError("a tag is not negative")


def utf8(text):
    """The UTF-8 of a str; raises CborError for a lone surrogate."""
    try:
        data = text.encode()
    except UnicodeError:
        raise CborError("text with a lone surrogate")
    _check_text(text, len(data))
    return data


def _check_text(text, size):
    # MicroPython's own check lets overlong forms, surrogates and code points past 0x10ffff
    # through. Where every byte was a character of its own there is nothing to look for.
    if len(text) == size:
        return
    shortest = 0
    for char in text:
        point = ord(char)
        if 0xD800 <= point < 0xE000 or point > 0x10FFFF:
            raise CborError("text with a code point that UTF-8 has not")
        shortest += 1 if point < 0x80 else 2 if point < 0x800 else 3 if point < 0x10000 else 4
    if shortest != size:
        raise CborError("text in overlong UTF-8")


class _Reader:
    def __init__(self, view, max_items, views):
        self._view = view
        self._items = max_items
        self._views = views
        self.at = 0

    def item(self, depth):
        self._items -= 1
        if self._items < 0:
            raise CborError("more CBOR items than are taken")
        view = self._view
        if self.at >= len(view):
            self._fail("CBOR ends early")
        first = view[self.at]
        major = first & 0xE0
        if major == 0xE0:
            return self._simple(first)
        value = first & 0x1F
        self.at += 1
        if value >= 24:
            value = self._argument(value)
        if major == _UINT:
            return value
        if major == _NINT:
            return -1 - value
        if major == _BYTES:
            data = self._take(value)
            return data if self._views and depth >= 0 else bytes(data)
        if major == _TEXT:
            return self._text(value)
        if depth <= 0:
            self._fail("CBOR nested too deep")
        if major == _ARRAY:
            self._check_count(value)
            items = []
            for _ in range(value):
                items.append(self.item(depth - 1))
            return items
        if major == _MAP:
            self._check_count(2 * value)
            return self._map(value, depth - 1)
        _check_tag(value)
        return Tag(value, self.item(depth - 1))

    def _fail(self, what):
        raise CborError("%s, before byte %d" % (what, self.at))

    def _take(self, size):
        end = self.at + size
        if end > len(self._view):
            self._fail("CBOR ends early")
        part = self._view[self.at : end]
        self.at = end
        return part

    def _argument(self, code):
        """The number after a first byte whose low five bits are `code`, 24 or above."""
        if code > 27:
            self._fail("a reserved or indefinite length")
        size = 1 << (code - 24)
        value = int.from_bytes(self._take(size), "big")
        # The shortest head: 24 and up in one byte, else more than fits in half the bytes.
        if value < 24 if size == 1 else value >> (4 * size) == 0:
            self._fail("a number not in its shortest form")
        return value

    def _check_count(self, items):
        if items > len(self._view) - self.at:
            self._fail("CBOR ends early")
        if items > self._items:
            self._fail("more CBOR items than are taken")

    def _text(self, size):
        try:
            text = str(self._take(size), "utf-8")
        except UnicodeError:
            self._fail("text that is not UTF-8")
        _check_text(text, size)
        return text

    def _map(self, count, depth):
        found = {}
        last = b""
        for _ in range(count):
            start = self.at
            if start < len(self._view) and self._view[start] >= _ARRAY:
                self._fail("a map key is an int, str or bytes")
            key = self.item(-1)
            encoded = bytes(self._view[start : self.at])
            # No encoding is empty, so the first key passes; equal keys have equal encodings, so
            # none comes twice.
            if encoded <= last:
                self._fail("map keys repeated or out of order")
            last = encoded
            found[key] = self.item(depth)
        return found

    def _simple(self, first):
        if _HALF <= first <= _DOUBLE:
            return self._float(first)
        if not _FALSE <= first <= _NULL:
            self._fail("a simple value that is not taken")
        self.at += 1
        return None if first == _NULL else first == _TRUE

    def _float(self, first):
        if not FLOAT:
            self._fail("a float, which this port has not")
        self.at += 1
        data = self._take(2 << (first - _HALF))
        number = floats.decode(data)
        if number is None:
            self._fail("a float not in its shortest form")
        return number
