"""tools/uf2.py, by the format's rules: blocks of 512 bytes with place, number and three magic words."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest
import uf2

ROOT = Path(__file__).resolve().parents[2]


def test_the_program_is_in_it() -> None:
    program = bytes(range(256)) * 3 + b"end"
    made = uf2.uf2(program)
    assert len(made) == 4 * 512
    found = b""
    for number in range(4):
        block = made[number * 512 : number * 512 + 512]
        begin, second, flags, at, size, index, count, family = struct.unpack("<8I", block[:32])
        assert (begin, second, block[508:]) == (0x0A324655, 0x9E5D5157, struct.pack("<I", 0x0AB16F30))
        assert (flags & 0x2000, family, at, size) == (0x2000, 0xE48BFF56, 0x10000000 + number * 256, 256)
        assert (index, count) == (number, 4)
        found += block[32 : 32 + size]
    assert found == program + bytes(253)


def test_a_program_that_reaches_into_what_is_not_its_own_is_refused(tmp_path: Path) -> None:
    (tmp_path / "program.bin").write_bytes(bytes(1000))
    words = [sys.executable, ROOT / "tools" / "uf2.py", tmp_path / "program.bin", tmp_path / "out.uf2", "--most", "999"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert done.returncode == 1 and "has 1000 bytes, 999 are free" in done.stderr
    assert not (tmp_path / "out.uf2").exists()


def test_what_is_written_is_read() -> None:
    data = bytes(range(256)) * 5 + b"end"
    assert uf2.program(uf2.uf2(data)) == data + bytes(-len(data) % 256)


@pytest.mark.parametrize("change", ((0, 1), (28, 1), (12 + 3, 0x80), (16 + 1, 0xFF)))
def test_what_is_none_or_for_another_chip_is_refused(change: tuple[int, int]) -> None:
    data = bytearray(uf2.uf2(bytes(1000)))
    data[512 + change[0]] ^= change[1]
    with pytest.raises(ValueError, match="no UF2|another chip"):
        uf2.program(bytes(data))
    with pytest.raises(ValueError, match="no UF2"):
        uf2.program(uf2.uf2(bytes(1000))[:-1])
