"""Decodes and resolves SenML packs in CBOR (RFC 8428 section 4.6). Imported only where packs come
in, for its RAM.

    for record in reader.decode(message):
        print(record.name, record.value, record.unit, record.time)
"""

from collections import namedtuple

import cbor

from senml_cbor import MAX_RECORDS, SenmlError, check_name

try:
    from micropython import const
except ImportError:

    def const(value):
        return value


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

_NUMBER = (int, cbor.FLOAT) if cbor.FLOAT else int

# A resolved record. value: a number, str, bool or bytes, or None where there is only a sum; time
# and update_time in seconds, time since 1970 or, below 2**28, relative to now; unit, sum and
# update_time are None where not given.
Record = namedtuple("Record", ("name", "value", "unit", "time", "sum", "update_time"))


def decode(buf, max_size=4096):
    """The resolved records of a pack (bytes-like, at most max_size bytes), a list of Record.
    Raises SenmlError.
    """
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


def _check_fields(fields):
    if not isinstance(fields, dict):
        raise SenmlError("a SenML record is a map")
    for label, value in fields.items():
        if label in (_BN, _BU, _N, _U, _VS):
            good = isinstance(value, str)
        elif label in (_BT, _BV, _BS, _V, _S, _T, _UT):
            good = _is_number(value)
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


def _is_number(value):
    return not isinstance(value, bool) and isinstance(value, _NUMBER)


def _resolved(fields, base):
    name = base[_BN] + fields.get(_N, "")
    check_name(b"", name.encode())
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
