"""One reader of JSON on the host: what two readers may read differently is refused, in linear time."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from projects import ROOT

from tidegate import boards, json_text
from tidegate.errors import TidegateError
from tidegate.flash.request import Request
from tidegate.sources import Sources

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_json_is_read_as_it_is(value: Any) -> None:
    assert json_text.loads(json.dumps(value)) == value
    assert json_text.loads(json.dumps(value, ensure_ascii=False, indent=1)) == value


@given(st.binary(max_size=60))
def test_anything_else_is_one_error(data: bytes) -> None:
    try:
        json_text.loads(data)
    except json_text.NotJson as error:
        assert str(error)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        "{}".encode("utf-32-le"),
        b'"\xff"',
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"1e999",
        b"9223372036854775808",
        b"9" * 5000,
        b'{"a": 1, "a": 1}',
        b'{"x": {"a": 1, "\\u0061": 2}}',
        b"[1,]",
        b"{'a': 1}",
        b"[" * 33 + b"]" * 33,
        b"[" * 100_000,
        b"{} {}",
        b'"a\nb"',
        b"// no\n{}",
    ],
)
def test_what_others_may_read_otherwise_is_refused(data: bytes) -> None:
    with pytest.raises(json_text.NotJson):
        json_text.loads(data)


@pytest.mark.parametrize("piece", [b'"', b'\\"', b"[", b"\\", b'""', b'"[', b"{}"])
def test_no_input_takes_the_square_of_its_length(piece: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(json_text.NotJson):
        json_text.loads(b'"' + piece * 500_000)
    assert time.process_time() - begun < 5


CONFIG = {
    "device": "gate-1",
    "product": "tidegate-gateway",
    "vendor": "tidegate.example",
    "board": "qemu_mps2",
    "mqtt": {"host": "10.0.2.2"},
    "payloads": "http://10.0.2.2:8080/",
}
TEXT = json.dumps(CONFIG)


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.replace(",", ",\r\n").encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.encode("utf-16"),
        TEXT.encode("utf-16-le"),
        TEXT.replace('"device"', '"\\u0064evice"').encode(),
        (TEXT[:-1] + ', "device": "gate-2"}').encode(),
        (TEXT[:-1] + ", }").encode(),
        b"",
    ],
    ids=range(9),
)
def test_one_identity_never_goes_to_several_boards(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "config.json").write_bytes(data)
    with pytest.raises(TidegateError):
        Request(boards.load(ROOT, "qemu_mps2"), Sources.checkout(ROOT), config=tmp_path / "config.json").check_for(2)


def test_what_is_refused_for_several_is_refused_for_one(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    with pytest.raises(TidegateError, match="begins with a byte order mark"):
        Request(boards.load(ROOT, "qemu_mps2"), Sources.checkout(ROOT), config=tmp_path / "config.json").settings()
