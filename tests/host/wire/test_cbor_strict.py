"""Deterministic CBOR on the host: one spelling for every value, nothing else accepted."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.errors import Refused
from tidegate.wire import cbor

# Value and encoding as printed in RFC 8949 appendix A.
APPENDIX_A = [
    (0, "00"),
    (23, "17"),
    (24, "1818"),
    (1000000000000, "1b000000e8d4a51000"),
    (18446744073709551615, "1bffffffffffffffff"),
    (-18446744073709551616, "3bffffffffffffffff"),
    (-1000, "3903e7"),
    (1.1, "fb3ff199999999999a"),
    (65504.0, "f97bff"),
    (100000.0, "fa47c35000"),
    (5.960464477539063e-8, "f90001"),
    (float("inf"), "f97c00"),
    (False, "f4"),
    (None, "f6"),
    (b"\x01\x02\x03\x04", "4401020304"),
    ("ü", "62c3bc"),
    (["a", {"b": "c"}], "826161a161626163"),
    ({1: 2, 3: 4}, "a201020304"),
]

MALFORMED = {
    "nothing": "",
    "a head cut off": "19ff",
    "a string cut off": "4401",
    "a reserved head": "1c",
    "a break alone": "ff",
    "an array of indefinite length": "9f01ff",
    "a string of indefinite length": "5f4101ff",
    "a long head": "1817",
    "a long float": "fb3ff8000000000000",
    "a long NaN": "fa7fc00000",
    "a NaN with another payload": "f97e01",
    "undefined": "f7",
    "a simple value": "f0",
    "a simple value in two bytes": "f818",
    "keys out of order": "a202010101",
    "a key twice": "a201010102",
    "keys ordered by length": "a22001181801",
    "text that is no UTF-8": "61ff",
    "a tag that does not belong there": "c000",
    "a bignum": "c249010000000000000000",
    "bytes after the end": "0000",
    "a key that is true": "a1f501",
    "a key that is a float": "a1f9400001",
    "four billion items": "9affffffff",
    "a string of four gigabytes": "5affffffff",
    "nested 9 deep": "81" * 9 + "00",
}


@pytest.mark.parametrize(("value", "encoded"), APPENDIX_A)
def test_encodes_as_the_rfc_prints(value: object, encoded: str) -> None:
    assert cbor.dumps(value).hex() == encoded
    assert cbor.loads(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize("name", MALFORMED)
def test_refuses(name: str) -> None:
    with pytest.raises(Refused) as refusal:
        cbor.loads(bytes.fromhex(MALFORMED[name]), "letter")
    assert "letter" in str(refusal.value)


def test_caps() -> None:
    assert cbor.loads(b"\x81" * 8 + b"\x00", max_depth=8)
    with pytest.raises(Refused, match="nested deeper than 7"):
        cbor.loads(b"\x81" * 8 + b"\x00", max_depth=7)
    with pytest.raises(Refused, match="more than 10 items"):
        cbor.loads(cbor.dumps([0] * 10), max_items=10)
    with pytest.raises(Refused) as refusal:
        cbor.loads(bytes(11), max_size=10)
    assert refusal.value.reason == "too-large"


def test_sorts_by_bytes_not_by_length() -> None:
    """-1 (20) comes after 24 (18 18) in RFC 8949, before it in RFC 7049."""
    assert cbor.dumps({-1: 0, 24: 0, 0: 0}).hex() == "a3000018180020" + "00"


@pytest.mark.parametrize("value", [{True: 1}, {1.0: 1}, {None: 1}, {1, 2}, object()])
def test_does_not_encode_what_it_would_not_decode(value: object) -> None:
    with pytest.raises(TypeError):
        cbor.dumps(value)


def test_integers_beyond_64_bits() -> None:
    with pytest.raises(OverflowError):
        cbor.dumps(2**64)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=40)
)
KEYS = st.integers(-(2**64), 2**64 - 1) | st.text(max_size=10) | st.binary(max_size=10)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=20
)


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_cbor2_reads_what_we_write(value: object) -> None:
    encoded = cbor.dumps(value)
    assert cbor2.loads(encoded) == value
    assert cbor.loads(encoded, max_depth=16) == value


@given(st.binary(max_size=60))
@settings(max_examples=2000, deadline=None)
def test_what_is_accepted_has_no_other_spelling(data: bytes) -> None:
    try:
        value = cbor.loads(data, max_depth=16)
    except Refused:
        return
    assert cbor.dumps(value) == data


@given(VALUES, st.data())
@settings(max_examples=300, deadline=None)
def test_a_changed_byte_is_refused_or_another_value(value: object, draw: st.DataObject) -> None:
    encoded = bytearray(cbor.dumps(value))
    at = draw.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= draw.draw(st.integers(1, 255))
    try:
        changed = cbor.loads(bytes(encoded), max_depth=16)
    except Refused:
        return
    assert cbor.dumps(changed) == bytes(encoded) != cbor.dumps(value)
