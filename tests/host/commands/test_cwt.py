"""Commands: made right, refused when asked for wrongly, and counters that never go back."""

from __future__ import annotations

import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tidegate.commands import cwt
from tidegate.errors import TidegateError
from tidegate.trust import keys

KEY = keys.from_seed("command", bytes(range(32)))
NOW = 1_795_000_000


def wanted(**changes: object) -> cwt.Command:
    values = {"audience": "gate-7", "opcode": "info", "cti": bytes(8), "issued": NOW, "expires": NOW + 60}
    return cwt.Command(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"audience": "Gate 7"}, "not a valid device id"),
        ({"audience": "g" * 33}, "not a valid device id"),
        ({"opcode": "rm -rf"}, "not a valid opcode"),
        ({"opcode": ""}, "not a valid opcode"),
        ({"arguments": {1: 2}}, "not named by text"),
        ({"arguments": {"a": {1, 2}}}, "cannot be sent"),
        ({"arguments": {"a": 2**64}}, "cannot be sent"),
        ({"arguments": {"a": "\udcff"}}, "cannot be sent"),  # a byte on the command line that is no UTF-8
        ({"arguments": {"a": "x" * 1000}}, "at most 1024"),
        ({"expires": NOW + 86401}, "1 to 86400 s"),
        ({"expires": NOW}, "lives 0 s, 1 to 86400"),
        ({"nonce": b"short"}, "nonce is not 8 bytes"),
    ],
)
def test_what_a_device_would_refuse_is_not_signed(change: dict[str, object], says: str) -> None:
    with pytest.raises(TidegateError, match=says):
        cwt.make(KEY, wanted(**change))


def test_a_release_key_does_not_sign_commands() -> None:
    with pytest.raises(TidegateError, match="a command key is needed"):
        cwt.make(keys.from_seed("release", bytes(32)), wanted())


def test_size() -> None:
    """As small as the standard allows: the figure of docs and bench."""
    assert len(cwt.make(KEY, wanted(nonce=bytes(8)))) == 131 + len("gate-7") + len("info")


def test_counter_is_the_time_and_rises(tmp_path: Path) -> None:
    before = time.time_ns() // 1000
    counters = [int.from_bytes(cwt.next_counter(tmp_path / "key"), "big") for _ in range(50)]
    assert before <= counters[0] <= time.time_ns() // 1000
    assert all(a < b for a, b in zip(counters, counters[1:], strict=False))


def test_counter_does_not_follow_a_clock_that_goes_back(tmp_path: Path) -> None:
    ahead = (time.time_ns() // 1000) + 3_600_000_000
    (tmp_path / "key.counter").write_text(json.dumps({"last": ahead}))
    assert int.from_bytes(cwt.next_counter(tmp_path / "key"), "big") == ahead + 1
    assert int.from_bytes(cwt.next_counter(tmp_path / "key"), "big") == ahead + 2


def take(path: Path, count: int) -> list[bytes]:
    return [cwt.next_counter(path) for _ in range(count)]


def test_counters_of_several_processes_differ(tmp_path: Path) -> None:
    # Not Pool: leaving one ends its processes at whatever they do, and with a lock in hand that may wait for ever.
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        taken = list(pool.map(take, [tmp_path / "key"] * 4, [25] * 4))
    flat = [counter for part in taken for counter in part]
    assert len(set(flat)) == 100


def test_a_damaged_counter_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "key.counter").write_text("{}")
    with pytest.raises(TidegateError, match="is damaged"):
        cwt.next_counter(tmp_path / "key")
