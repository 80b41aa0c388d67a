"""Patches: what is made gives the file back, and what does not fit exactly is refused."""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st
from projects import ROOT, vectors

from tidegate import delta
from tidegate.delta import adaptive, deflate
from tidegate.delta.start import START_STATES
from tidegate.errors import TidegateError

PATCHES = vectors("patches.json")  # by an encoder that is not ours: tests/vectors/make_device_vectors.py
OLD = random.Random(1).randbytes(3000)
NEW = OLD[:1000] + b"something new" + OLD[1100:2500] + bytes(byte ^ 3 for byte in OLD[2500:2520]) + OLD[2520:]
PATCH = delta.make(OLD, NEW, [delta.DEFLATE])
BOTH = [PATCH, delta.make(OLD, NEW, [delta.ADAPTIVE])]
each_codec = pytest.mark.parametrize("made", BOTH, ids=delta.CODECS.values())


@pytest.mark.parametrize("case", [c for c in PATCHES if "new" in c], ids=lambda c: c["why"])
def test_reads_the_patches_of_another_encoder(case: dict[str, str]) -> None:
    old, new = bytes.fromhex(case["old"]), bytes.fromhex(case["new"])
    assert delta.apply(old, bytes.fromhex(case["patch"])) == new
    assert len(delta.make(old, new)) <= len(case["patch"]) // 2


@pytest.mark.parametrize("case", [c for c in PATCHES if "new" not in c], ids=lambda c: c["why"])
def test_refuses_broken_operations(case: dict[str, str]) -> None:
    """These have sound deflate data and the check of zeros as result; the operations are wrong."""
    with pytest.raises(delta.PatchError):
        delta.info(bytes.fromhex(case["patch"]))
    with pytest.raises(delta.PatchError):
        delta.apply(bytes.fromhex(case["old"]), bytes.fromhex(case["patch"]))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A file and a later version of it: pieces kept, moved, changed, dropped, inserted."""
    old = draw(st.binary(max_size=600))
    new = bytearray()
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.booleans()):
            start = draw(st.integers(0, len(old)))
            piece = bytearray(old[start : draw(st.integers(start, len(old)))])
            for _ in range(draw(st.integers(0, 3)) if piece else 0):
                piece[draw(st.integers(0, len(piece) - 1))] ^= draw(st.integers(1, 255))
            new += piece
        else:
            new += draw(st.binary(max_size=50))
    return old, bytes(new)


@given(pairs())
@settings(max_examples=400, deadline=None)
def test_a_patch_gives_the_new_file(pair: tuple[bytes, bytes]) -> None:
    old, new = pair
    for codec in delta.CODECS:
        patch = delta.make(old, new, [codec])
        assert delta.read_header(patch).codec == codec
        assert delta.apply(old, patch) == new
        assert delta.make(old, new, [codec]) == patch
        assert len(delta.make(old, new)) <= len(patch)
        if codec == delta.DEFLATE:
            assert deflate.max_distance(patch[delta.read_header(patch).body :]) <= deflate.MAX_DISTANCE


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_random_bytes_are_refused(data: bytes) -> None:
    for patch in (data, PATCH[:13] + data, BOTH[1][:13] + data):
        with pytest.raises(delta.PatchError):
            delta.apply(OLD, patch)


@each_codec
def test_every_truncation_is_refused(made: bytes) -> None:
    for size in range(len(made)):
        with pytest.raises(delta.PatchError):
            delta.apply(OLD, made[:size])


@each_codec
def test_every_flipped_bit_is_refused(made: bytes) -> None:
    for bit in range(8 * len(made)):
        changed = bytearray(made)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(delta.PatchError):
            delta.apply(OLD, bytes(changed))


@each_codec
@given(st.binary(min_size=1, max_size=20))
@settings(max_examples=300, deadline=None)
def test_bytes_at_the_end_are_refused(made: bytes, more: bytes) -> None:
    with pytest.raises(delta.PatchError, match="over-long|damaged"):
        delta.apply(OLD, made + more)


def test_operations_after_the_end_are_refused() -> None:
    body = delta.read_header(PATCH).body
    operations = deflate.unpack(PATCH[body:], 100000)
    with pytest.raises(delta.PatchError, match="over-long"):
        delta.apply(OLD, PATCH[:body] + deflate.pack(operations + b"\0"))


@each_codec
def test_another_base_is_named(made: bytes) -> None:
    with pytest.raises(delta.PatchError, match="for another base: 3000 bytes"):
        delta.apply(OLD[:-1] + b"!", made)
    with pytest.raises(delta.PatchError, match="this one has 2999 bytes"):
        delta.apply(OLD[:-1], made)


def test_an_unknown_codec_is_refused() -> None:
    with pytest.raises(delta.PatchError, match="codec 2"):
        delta.apply(OLD, b"\xd2" + PATCH[1:])


def test_a_bomb_is_stopped() -> None:
    """A kilobyte that unpacks to a megabyte of operations for a file of few bytes."""
    header = bytearray(PATCH[: delta.read_header(PATCH).body])
    bomb = zlib.compressobj(9, zlib.DEFLATED, -9)
    with pytest.raises(delta.PatchError, match="more than"):
        delta.apply(OLD, bytes(header) + bomb.compress(bytes(10_000_000)) + bomb.flush())


def test_unpacks_as_the_device_does() -> None:
    """A stream that reaches back further than 256 bytes is not for a device, and the host says so too."""
    text = OLD[:300] * 3
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    wide = packer.compress(text) + packer.flush()
    assert deflate.max_distance(wide) == 300
    with pytest.raises(TidegateError, match="damaged"):
        deflate.unpack(wide, 1000)
    assert deflate.max_distance(deflate.pack(text)) <= deflate.MAX_DISTANCE
    assert deflate.unpack(deflate.pack(text), 1000) == text


@pytest.mark.parametrize("window", range(9, 16))
@pytest.mark.parametrize("strategy", [zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_RLE, zlib.Z_HUFFMAN_ONLY])
def test_distances_are_read_right(window: int, strategy: int) -> None:
    """Held against zlib's own promise for each window, on data with matches at all distances."""
    chance = random.Random(window)
    data = bytearray(chance.randbytes(200))
    while len(data) < 40000:
        start = chance.randrange(len(data))
        data += data[start : start + chance.randrange(3, 60)] + chance.randbytes(2)
    packer = zlib.compressobj(9, zlib.DEFLATED, -window, 9, strategy)
    stream = packer.compress(bytes(data)) + packer.flush()
    furthest = deflate.max_distance(stream)
    assert furthest <= (1 << window) - 262
    if strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED):
        assert furthest > (1 << window) // 2 - 262


def test_stored_blocks() -> None:
    noise = random.Random(2).randbytes(70000)
    packer = zlib.compressobj(0, zlib.DEFLATED, -9)
    assert deflate.max_distance(packer.compress(noise) + packer.flush()) == 0


def test_the_page_has_the_states_that_patches_begin_with() -> None:
    page = (ROOT / "docs" / "patch-format.md").read_text()
    table = page.split("<!-- start states -->")[1].split("<!-- end of start states -->")[0]
    assert bytes.fromhex(table.replace("```", "")) == START_STATES
    assert len(START_STATES) == adaptive.STATES


@each_codec
def test_any_start_of_a_body(made: bytes) -> None:
    """Bodies put together at random are refused, in no more time than their size allows."""
    chance = random.Random(9)
    body = delta.read_header(made).body
    for _ in range(2000):
        patch = made[: chance.randrange(body, len(made))] + chance.randbytes(chance.randrange(40))
        if patch != made:
            with pytest.raises(delta.PatchError):
                delta.apply(OLD, patch)


def test_the_smaller_codec_is_kept() -> None:
    repeated = OLD + bytes(range(100)) * 30
    for old, new in ((OLD, NEW), (OLD, repeated), (b"", b"a"), (b"", b"ab" * 4000)):
        sizes = {codec: len(delta.make(old, new, [codec])) for codec in delta.CODECS}
        patch = delta.make(old, new)
        assert len(patch) == min(sizes.values()) == sizes[delta.read_header(patch).codec]


def test_progress_is_told() -> None:
    told: list[tuple[int, int, str]] = []
    large = random.Random(3).randbytes(40000)
    patch = delta.make(OLD, large, [delta.ADAPTIVE], lambda *now: told.append(now))
    assert {what for _, _, what in told} == {"comparing", "packing", "applying"}
    assert all(0 <= done <= total == 40000 for done, total, _ in told)
    assert len(told) > 15
    told.clear()
    assert delta.apply(OLD, patch, lambda *now: told.append(now)) == large
    assert len(told) > 7


Cli = Callable[..., Result]


def test_on_the_command_line(cli: Cli, tmp_path: Path) -> None:
    old, new, patch, out = (tmp_path / name for name in ("old", "new", "patch", "out"))
    old.write_bytes(OLD)
    new.write_bytes(NEW)
    made = cli("delta", "make", old, new, patch, "--json")
    assert made.exit_code == 0
    assert json.loads(made.stdout)["codec"] == "adaptive"
    assert cli("delta", "apply", old, patch, out).exit_code == 0
    assert out.read_bytes() == NEW
    shown = cli("delta", "info", patch)
    assert shown.exit_code == 0
    assert "new size" in shown.stdout and str(len(NEW)) in shown.stdout and "adaptive" in shown.stdout


@each_codec
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: p[:-4], "cut off"),
        (lambda p: p[:40] + bytes([p[40] ^ 8]) + p[41:], "damaged"),
        (lambda p: p + b"more", "after its end|over-long"),
        (lambda p: b"not a patch", "does not begin with 0xD0"),
    ],
)
def test_a_bad_patch_leaves_no_file(
    cli: Cli, tmp_path: Path, made: bytes, change: Callable[[bytes], bytes], says: str
) -> None:
    (tmp_path / "old").write_bytes(OLD)
    (tmp_path / "patch").write_bytes(change(made))
    result = cli("delta", "apply", tmp_path / "old", tmp_path / "patch", tmp_path / "out")
    assert result.exit_code == 1
    assert re.search(says, result.stderr)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "patch"]


def test_a_bad_patch_leaves_an_existing_file_alone(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(OLD + b"!")
    (tmp_path / "patch").write_bytes(PATCH)
    (tmp_path / "out").write_bytes(b"what was there")
    result = cli("delta", "apply", tmp_path / "old", tmp_path / "patch", tmp_path / "out")
    assert result.exit_code == 1
    assert "another base" in result.stderr and "made from" in result.stderr
    assert (tmp_path / "out").read_bytes() == b"what was there"
