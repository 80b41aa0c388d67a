"""SenML packs in CBOR (RFC 8428): encodes measurements, deterministically, into a caller's buffer.

    pack = Pack("urn:dev:org:example:gw-1:", None, bytearray(256))
    pack.add("temperature", 2153, "Cel", -5, 100)  # 21.53 Cel, five seconds ago
    send(pack.finish())

`senml_cbor.reader` decodes packs.
"""

import cbor
from cbor.writer import Writer

try:
    from micropython import const
except ImportError:

    def const(value):
        return value


__version__ = "0.3.0"

MAX_RECORDS = const(64)
MAX_NAME = const(128)  # characters of base name and name
_BUFFER = const(1024)  # bytes, where the caller has none
# Before the records: heads of array and map, base name and base time, and two fields of the
# caller's; without the name itself.
_AHEAD = const(48)

# CBOR labels, RFC 8428 section 6; the rest are in senml_cbor.reader.
_BN = const(-2)
_BT = const(-3)
_N = const(0)
_U = const(1)
_V = const(2)
_VS = const(3)
_VB = const(4)
_T = const(6)
_VD = const(8)

_TEXT = (str, bytes)  # made once: isinstance with a tuple of its own would allocate one


class SenmlError(ValueError):
    """Not a SenML pack, or a record that a pack cannot hold."""


class Pack:
    """A pack being encoded in one buffer. With integers below 2**30 and a buffer given, nothing is
    allocated before `finish`.

    The base fields belong to the first record, behind its own (the keys of a map are sorted), and
    the base time is known last, when the pack is sent. So records are written behind a gap, and
    `finish` moves the few bytes of the first one down. count: records so far; first: where the
    first one ends; fields: how many fields it has. With these and the bytes from `gap` to
    `writer.at` a pack can be stored and continued later (`resume`).
    """

    def __init__(self, base_name, base_time=None, buf=None):
        """base_name: str, before every name ("urn:dev:org:..."). base_time: seconds since 1970,
        added to every time; None on a device without a clock, whose times are relative to now.
        buf: bytearray; a record that does not fit it is refused.
        """
        if not isinstance(base_name, str):
            raise SenmlError("a SenML base name is a str, not %r" % (base_name,))
        self._base = base_name.encode()
        check_name(b"", self._base)
        if base_time is not None and _value_label(base_time) != _V:
            raise SenmlError("a SenML base time is a number, not %r" % (base_time,))
        self.base_time = base_time
        self.buf = bytearray(_BUFFER) if buf is None else buf
        self.gap = _AHEAD + len(self._base)
        self.writer = Writer(self.buf)
        self.begin()

    def begin(self, buf=None, at=0, end=None):
        """Starts over in its own buffer, or in buf[at:end], to store records for `resume`."""
        self.writer.begin(buf or self.buf, at if buf else self.gap, end)
        self.count = self.first = self.fields = 0
        self._start = None

    def __len__(self):
        return self.count

    def add(self, name, value, unit=None, time=None, divisor=None, more=b""):
        """Adds a record. name: str or bytes, with `more` appended; value: int, float, bool, str or
        bytes; unit: of the SenML units registry; time: seconds, added to the base time; divisor:
        of an int, a whole number above 0, see cbor.writer.Writer.ratio. Raises SenmlError, also
        when the pack is full, and leaves the pack unchanged then.
        """
        if self._start is not None or self.count == MAX_RECORDS:
            raise SenmlError("a SenML pack holds %d records, and none once finished" % MAX_RECORDS)
        check_name(self._base, name, more)
        label = _value_label(value)
        if time is not None and _value_label(time) != _V:
            raise SenmlError("a SenML time is a number, not %r" % (time,))
        writer = self.writer
        before = writer.at
        fields = 2 + (unit is not None) + (time is not None)
        try:
            if self.count:
                writer.map(fields)
            writer.int(_N)
            writer.text(name, more)
            if unit is not None:
                writer.int(_U)
                writer.text(unit)
            if label < _T:
                writer.int(label)
                if label == _V:
                    _write_number(writer, value, divisor)
                elif label == _VB:
                    writer.bool(value)
                else:
                    writer.text(value)
            if time is not None:
                writer.int(_T)
                _write_number(writer, time, None)
            if label > _T:
                writer.int(label)
                writer.bytes(value)
        except cbor.CborError as error:
            writer.at = before
            raise SenmlError("the SenML record %r: %s" % (name, error))
        if not self.count:
            self.first = writer.at
            self.fields = fields
        self.count += 1

    def resume(self, size, count, first, fields):
        """Continues with stored records, whose `size` bytes the caller has copied to buf[gap:].
        first: the size of the first one.
        """
        self.begin()
        self.writer.at = self.gap + size
        self.count = count
        self.first = self.gap + first
        self.fields = fields

    def finish(self, extra=()):
        """The pack, as a memoryview of the buffer; no record can be added after it. extra: (label,
        integer) fields for the first record, at most two, sorted, with labels below -24. Raises
        SenmlError for a pack without records.
        """
        if not self.count:
            raise SenmlError("a SenML pack without records")
        if self._start is None:
            self._begin_with_base(extra)
        return memoryview(self.buf)[self._start : self.writer.at]

    def encode(self):
        """The pack as bytes."""
        return bytes(self.finish())

    def _begin_with_base(self, extra):
        writer, buf = self.writer, self.buf
        end = writer.at
        fields = self.fields + 1
        # The base fields are written behind everything, then go between first record and second.
        try:
            writer.int(_BN)
            writer.text(self._base)
            if self.base_time is not None:
                writer.int(_BT)
                _write_number(writer, self.base_time, None)
                fields += 1
            for label, number in extra:
                writer.int(label)
                writer.int(number)
                fields += 1
        except cbor.CborError as error:
            writer.at = end
            raise SenmlError("the SenML base fields: %s" % error)
        size = writer.at - end
        start = self.gap - size
        at = start
        while at < self.first - size:
            buf[at] = buf[at + size]
            at += 1
        while at < self.first:
            buf[at] = buf[end]
            at += 1
            end += 1
        writer.at -= size
        start -= 1
        buf[start] = 0xA0 | fields
        if self.count >= 24:
            start -= 1
            buf[start] = self.count
        start -= 1
        buf[start] = 0x80 | (24 if self.count >= 24 else self.count)
        self._start = start


def _value_label(value):
    if value is True or value is False:
        return _VB
    if isinstance(value, int):
        return _V
    if isinstance(value, str):
        return _VS
    if isinstance(value, cbor.FLOAT):
        if value - value != 0:
            raise SenmlError("a SenML value is finite, not %r" % value)
        return _V
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _VD
    raise SenmlError(
        "a SenML value is a number, bool, str or bytes, not %s" % type(value).__name__
    )


def _write_number(writer, number, divisor):
    if not isinstance(number, int):
        writer.float(number)
    elif divisor is not None:
        writer.ratio(number, divisor)
    else:
        writer.int(number)


def check_name(base, name, more=b""):
    """Raises SenmlError unless base + name + more is a name of RFC 8428 section 4.5.1."""
    if not isinstance(name, _TEXT) or not isinstance(more, bytes):
        raise SenmlError("a SenML name is str or bytes, not %r" % (name,))
    if not 0 < len(base) + len(name) + len(more) <= MAX_NAME:
        raise SenmlError("a SenML name has 1 to %d characters" % MAX_NAME)
    first = not base
    for char in name:
        code = char if isinstance(char, int) else ord(char)
        if not (
            0x61 <= code <= 0x7A
            or 0x41 <= code <= 0x5A
            or 0x30 <= code <= 0x39
            or (not first and code in b"-:./_")
        ):
            raise SenmlError("SenML name %r: %#x is not allowed there" % (name, code))
        first = False
