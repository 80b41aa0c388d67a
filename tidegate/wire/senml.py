"""SenML packs in CBOR (RFC 8428) as devices send them: decoded and resolved (section 4.6).

Two labels are ours (docs/wire.cddl), in a pack's first record: its number on its stream and the count of packs lost.
Other readers pass them over, as section 4.4 tells them to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from tidegate.errors import Refused
from tidegate.wire import cbor, senml_usual

MAX_SIZE = 4096
MAX_RECORDS = 64
MAX_NAME = 128
RELATIVE = 1 << 28  # times below are relative to now (section 4.5.3)

_BVER, _BN, _BT, _BU, _BV, _BS = -1, -2, -3, -4, -5, -6
_N, _U, _V, _VS, _VB, _S, _T, _UT, _VD = range(9)
_TEXTS = {_BN, _BU, _N, _U, _VS}
_NUMBERS = {_BT, _BV, _BS, _V, _S, _T, _UT}
_NUMBER, _DROPPED = -257, -258
_MAX_COUNT = (1 << 32) - 1
_LABELS = _TEXTS | _NUMBERS | {_BVER, _VB, _VD}
_VALUES = {_V: "value", _VS: "text", _VB: "bool", _VD: "data"}
_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-:./_")


class Pack(NamedTuple):
    """A pack and its facts. `number` and `dropped` are None if it states none; `timed` is whether
    every record has a time since 1970, so that no two packs are alike."""

    records: list[dict[str, Any]]
    number: int | None
    dropped: int | None
    timed: bool


def decode(data: bytes, now: float) -> list[dict[str, Any]]:
    """The resolved records of a pack: {"name", "time", "unit"?, "sum"?} and one of value, text, bool, data.

    `now` is the time of reception in seconds since 1970: devices without a clock send times relative to
    it. Data values come as hex.
    """
    return read(data, now).records


def read(data: bytes, now: float) -> Pack:
    """A pack with its records resolved as `decode` does it, its number, and the count of lost packs."""
    usual = senml_usual.read(data, now, RELATIVE, _is_name) if len(data) <= MAX_SIZE else None
    return read_generally(data, now) if usual is None else Pack(*usual)


def read_generally(data: bytes, now: float) -> Pack:
    """`read` without the short way for packs as agents spell them."""
    pack = cbor.loads(data, "telemetry pack", max_size=MAX_SIZE)
    if not isinstance(pack, list) or not 1 <= len(pack) <= MAX_RECORDS:
        raise _bad(f"must have 1 to {MAX_RECORDS} records")
    base: dict[int, Any] = {_BN: "", _BT: 0, _BU: None, _BV: 0, _BS: 0}
    records, timed = [], True
    for record in pack:
        _check(record)
        base.update({label: item for label, item in record.items() if label in base})
        if not set(record) <= set(base) | {_BVER, _NUMBER, _DROPPED}:
            records.append(_resolve(record, base, now))
            timed = timed and base[_BT] + record.get(_T, 0) >= RELATIVE
    return Pack(records, pack[0].get(_NUMBER), pack[0].get(_DROPPED), timed)


def base_name(device: str) -> str:
    """What the names of a device's measurements begin with."""
    return f"urn:dev:org:tidegate:{device}:"


def encode(device: str, values: Sequence[tuple[str, float, str]], number: int, age_s: float = 0) -> bytes:
    """A pack as a device sends it. values: (name, number, unit) of each record; number: the pack's; age_s: how long ago
    it was measured."""
    records: list[dict[int, Any]] = [{_N: name, _U: unit, _V: value} for name, value, unit in values]
    records[0] |= {_BN: base_name(device), _NUMBER: number}
    if age_s > 0:
        records[0][_BT] = -age_s
    return cbor.dumps(records)


def _check(record: Any) -> None:
    if not isinstance(record, dict):
        raise _bad("has a record that is not a map")
    for label, item in record.items():
        if label not in _LABELS:
            if isinstance(label, str) and label.endswith("_"):  # section 4.4: must be understood
                raise _bad(f"has the label {label!r}, which is not known here")
            continue
        number = isinstance(item, (int, float)) and not isinstance(item, bool)
        if (label in _TEXTS and not isinstance(item, str)) or (label in _NUMBERS and not number):
            raise _bad(f"has a value of the wrong type under label {label}")
    for label in (_NUMBER, _DROPPED):
        count = record.get(label, 0)
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= _MAX_COUNT:
            raise _bad(f"has {count!r} under label {label}, where a count belongs")
    if record.get(_BVER, 10) != 10:
        raise _bad(f"has version {record[_BVER]!r}, not 10")


def _resolve(record: dict[int, Any], base: dict[int, Any], now: float) -> dict[str, Any]:
    name = base[_BN] + record.get(_N, "")
    if not _is_name(name):
        raise _bad(f"has the name {name[:MAX_NAME]!r}, which SenML does not allow")
    time = base[_BT] + record.get(_T, 0)
    out: dict[str, Any] = {"name": name, "time": now + time if time < RELATIVE else time}
    unit = record.get(_U, base[_BU])
    if unit:
        out["unit"] = unit
    if _S in record or base[_BS]:
        out["sum"] = record.get(_S, 0) + base[_BS]
    present = [label for label in _VALUES if label in record]
    if len(present) > 1 or (not present and "sum" not in out):
        raise _bad(f"has a record {name} without exactly one value")
    for label in present:
        out[_VALUES[label]] = _value(label, record[label], base)
    return out


@lru_cache(4096)  # the same measurements come again and again
def _is_name(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME and name[0].isalnum() and _NAME_CHARACTERS.issuperset(name)


def _value(label: int, item: Any, base: dict[int, Any]) -> Any:
    if label == _V:
        return item + base[_BV]
    if label == _VB and not isinstance(item, bool):
        raise _bad("has a boolean value that is not a boolean")
    if label == _VD:
        if not isinstance(item, bytes):
            raise _bad("has a data value that is not bytes")
        return item.hex()
    return item


def _bad(why: str) -> Refused:
    return Refused("malformed", f"the telemetry pack {why}")
