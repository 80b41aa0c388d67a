"""Comparing two files takes a bounded time whatever is in them, and Ctrl-C ends it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import limit
from projects import ROOT

from tidegate import delta
from tidegate.delta import adaptive, bsdiff

TABLE = random.Random(1).randbytes(200_000)
OTHER = TABLE[:-4] + bytes(byte ^ 0xFF for byte in TABLE[-4:])
PERIODIC = b"abcdefg" * 40_000
ZEROS = bytes(400_000)
PAIRS = {
    "a table twice": (TABLE + OTHER, OTHER + b"!"),
    "many near copies": (b"".join(TABLE[:3000] + bytes([n]) for n in range(100)), (TABLE[:3000] + b"\xff") * 100),
    "periodic": (PERIODIC, PERIODIC[3:] + b"x" + PERIODIC[:1000]),
    "zeros": (ZEROS, ZEROS[:1000] + b"1" + ZEROS),
    "zeros to periodic": (ZEROS, PERIODIC),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_no_input_takes_the_square_of_its_length(pair: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = PAIRS[pair]
    begun = time.process_time()
    patch = delta.make(old, new, [delta.DEFLATE])
    assert time.process_time() - begun < limit(15)
    assert len(patch) < 3000


def test_eight_times_as_long_takes_about_eight_times_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_MOST_STEPS", 10**8), ("_STEPS_A_BYTE", 0), ("_PART", 1 << 13), ("_AROUND", 1 << 16)):
        monkeypatch.setattr(bsdiff, name, value)

    def seconds(size: int) -> float:
        table = random.Random(3).randbytes(size)
        old = table + table[:-4] + b"abcd"
        begun = time.process_time()
        bsdiff.compare(old, old[size:] + b"!")
        return time.process_time() - begun

    assert seconds(640_000) < 24 * max(seconds(80_000), 0.05)  # the square would be 64 times


@settings(deadline=None)
@given(st.lists(st.integers(0, 2000), max_size=8), st.integers(0, 2**32))
def test_parts_give_the_file_too(cuts: list[int], seed: int) -> None:
    rest = random.Random(seed)
    old = bytes(rest.choice(b"ab") for _ in range(2000))
    new = bytearray(old)
    for at in cuts:
        new[at : at + rest.randrange(20)] = rest.randbytes(rest.randrange(20))
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (("_MOST_STEPS", 1), ("_STEPS_A_BYTE", 0), ("_PART", 100), ("_AROUND", 500)):
            patched.setattr(bsdiff, name, value)
        assert delta.apply(old, delta.make(old, bytes(new))) == new


def test_what_bsdiff_does_quickly_is_compared_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    whole = bsdiff._diff
    monkeypatch.setattr(bsdiff, "_diff", lambda *given: calls.append(given) or whole(*given))
    bsdiff.compare(TABLE, TABLE[:70_000] + b"new" + TABLE[80_000:] + TABLE[:2000])
    assert len(calls) == 1
    large = random.Random(4).randbytes(1_000_000) + TABLE[:30_000] + bytes(30_000) + TABLE[:30_000]
    bsdiff.compare(large, large[1000:])
    assert len(calls) == 2
    bsdiff.compare(TABLE + OTHER, OTHER)
    assert len(calls) > 4


REGULAR = range(0, 1_100_000, 16)
HERE_AND_THERE = sorted(random.Random(6).sample(range(1_100_000), 500))


@pytest.mark.parametrize(
    "places, codec, tried", [(REGULAR, delta.DEFLATE, False), (HERE_AND_THERE, delta.ADAPTIVE, True)]
)
def test_of_a_large_file_the_codec_that_has_a_chance_is_tried(
    places: Iterable[int], codec: int, tried: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = random.Random(5).randbytes(1_100_000)
    new = bytearray(old)
    for at in places:
        new[at] = new[at] + 1 & 0xFF
    made = []
    encode = adaptive.encode
    monkeypatch.setattr(adaptive, "encode", lambda steps: made.append(steps) or encode(steps))
    patch = delta.make(old, bytes(new))
    assert (delta.read_header(patch).codec, bool(made)) == (codec, tried)
    assert delta.apply(old, patch) == new


def test_interrupted_at_once_with_nothing_left_behind(tmp_path: Path) -> None:
    big = random.Random(2).randbytes(4_000_000)
    (tmp_path / "old").write_bytes(big)
    (tmp_path / "new").write_bytes(big[::-1])
    (tmp_path / "patch").write_bytes(b"before")
    started = "import sys, tidegate.delta.bsdiff as b; old = b._diff; "
    started += "b._diff = lambda *a: (print('go', flush=True), old(*a))[1]; from tidegate.cli import main; main()"
    command = [sys.executable, "-c", started, "delta", "make", "old", "new", "patch"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None and process.stdout.readline() == b"go\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, said = process.communicate(timeout=limit(60))
    assert process.returncode == 130 and said.endswith(b"Interrupted\n"), said
    assert time.monotonic() - begun < limit(10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old", "patch"]
    assert (tmp_path / "patch").read_bytes() == b"before"
