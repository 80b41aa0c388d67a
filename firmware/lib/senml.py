"""SenML packs in CBOR (RFC 8428): measurements out, deterministic; and back, resolved (section
4.6)."""

from collections import namedtuple

import cbor

try:
    from micropython import const
except ImportError:

    def const(value):
        return value


MAX_RECORDS = const(64)
MAX_NAME = const(128)  # characters of base name and name
_MAX_SIZE = const(4096)

# CBOR labels, RFC 8428 section 6.
_BVER = const(-1)
_BN = const(-2)
_BT = const(-3)
_BU = const(-4)
_BV = const(-5)
_BS = const(-6)
_N = const(0)
_U = const(1)
_V = const(2)
_VS = const(3)
_VB = const(4)
_S = const(5)
_T = const(6)
_UT = const(7)
_VD = const(8)
_VERSION = const(10)

# A resolved record. value: a number, str, bool or bytes, or None where there is only a sum; time
# and update_time in seconds, time since 1970 or, below 2**28, relative to now; unit, sum and
# update_time are None where not given.
Record = namedtuple("Record", ("name", "value", "unit", "time", "sum", "update_time"))


class SenmlError(ValueError):
    """Not a SenML pack, or not a record that may be put into one."""


class Pack:
    """A pack being put together. base_name goes before every name ("urn:dev:org:..."),
    base_time is added to every time: seconds since 1970, or left out by a device without a
    clock, whose times are then relative to now."""

    def __init__(self, base_name, base_time=None):
        _check_name(base_name)
        self._base_name = base_name
        self._records = []
        first = {_BN: base_name}
        if base_time is not None:
            first[_BT] = base_time
        self._base = first

    def __len__(self):
        return len(self._records)

    def add(self, name, value, unit=None, time=None):
        """Adds a record. value: int, float, bool, str or bytes; unit: of the SenML units
        registry; time: seconds, added to the base time. Raises SenmlError, also when the pack
        is full."""
        if len(self._records) == MAX_RECORDS:
            raise SenmlError("a SenML pack holds %d records" % MAX_RECORDS)
        _check_name(self._base_name + name)
        record = {_N: name, _value_label(value): value}
        if unit is not None:
            record[_U] = unit
        if time is not None:
            record[_T] = time
        if not self._records:
            record.update(self._base)
        self._records.append(record)

    def encode(self):
        """The pack as bytes; it needs at least one record."""
        if not self._records:
            raise SenmlError("a SenML pack without records")
        return cbor.dumps(self._records)


def decode(buf, max_size=_MAX_SIZE):
    """The resolved records of a pack (bytes-like), a list of Record. Raises SenmlError."""
    try:
        pack = cbor.loads(buf, max_size, 3, MAX_RECORDS * 16)
    except cbor.CborError as error:
        raise SenmlError("not a SenML pack: %s" % error)
    if not isinstance(pack, list) or not 1 <= len(pack) <= MAX_RECORDS:
        raise SenmlError("a SenML pack has 1 to %d records" % MAX_RECORDS)
    base = {_BN: "", _BT: 0, _BU: None, _BV: 0, _BS: None}
    records = []
    for fields in pack:
        _check_fields(fields)
        for label in base:
            if label in fields:
                base[label] = fields[label]
        # Fields for those that follow, and no record of its own.
        if any(not isinstance(label, int) or label >= 0 for label in fields):
            records.append(_resolved(fields, base))
    return records


def _value_label(value):
    if isinstance(value, bool):
        return _VB
    if isinstance(value, (int, float)):
        if isinstance(value, float) and value - value != 0:
            raise SenmlError("a SenML value is finite, not %r" % value)
        return _V
    if isinstance(value, str):
        return _VS
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _VD
    raise SenmlError(
        "a SenML value is a number, bool, str or bytes, not %s" % type(value).__name__
    )


def _check_name(name):
    """RFC 8428 section 4.5.1."""
    if not 0 < len(name) <= MAX_NAME:
        raise SenmlError("a SenML name has 1 to %d characters" % MAX_NAME)
    for at, char in enumerate(name):
        if not (
            "a" <= char <= "z"
            or "A" <= char <= "Z"
            or "0" <= char <= "9"
            or (at and char in "-:./_")
        ):
            raise SenmlError("SenML name %r: character %r may not be there" % (name, char))


def _check_fields(fields):
    if not isinstance(fields, dict):
        raise SenmlError("a SenML record is a map")
    for label, value in fields.items():
        if label in (_BN, _BU, _N, _U, _VS):
            good = isinstance(value, str)
        elif label in (_BT, _BV, _BS, _V, _S, _T, _UT):
            good = isinstance(value, (int, float)) and not isinstance(value, bool)
        elif label == _VB:
            good = isinstance(value, bool)
        elif label == _VD:
            good = isinstance(value, bytes)
        elif label == _BVER:
            good = value == _VERSION
        else:
            # Unknown labels are passed over but for those that say they must not be (section 4.4).
            good = not (isinstance(label, str) and label.endswith("_"))
        if not good:
            raise SenmlError("SenML field %r cannot be %r" % (label, value))


def _resolved(fields, base):
    name = base[_BN] + fields.get(_N, "")
    _check_name(name)
    total = fields.get(_S)
    if base[_BS] is not None:
        total = base[_BS] + (total or 0)
    values = [label for label in (_V, _VS, _VB, _VD) if label in fields]
    if len(values) > 1 or (not values and total is None):
        raise SenmlError("SenML record %r without exactly one value" % name)
    value = fields[values[0]] if values else None
    if _V in fields:
        value += base[_BV]
    time = base[_BT] + fields.get(_T, 0)
    return Record(name, value, fields.get(_U, base[_BU]), time, total, fields.get(_UT))
