#!/usr/bin/env python3
"""A program for an RP2040 as UF2, the file that is copied onto its drive.

python tools/uf2.py firmware.bin firmware.uf2 --most 655360
"""

from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path

FLASH = 0x10000000  # where the RP2040 maps its flash
RP2040 = 0xE48BFF56  # the family's number
_MOST_FLASH = 16 * 1024 * 1024
_PAGE = 256
_BLOCK = 512
_HEAD = 32  # bytes of a block before its data
_FAMILY_GIVEN = 0x2000
_MAGIC = (0x0A324655, 0x9E5D5157, 0x0AB16F30)


def uf2(program: bytes) -> bytes:
    """The program, from the start of the flash, in blocks of 512 bytes with a page each."""
    program += bytes(-len(program) % _PAGE)
    count = len(program) // _PAGE
    blocks = []
    for number in range(count):
        at = number * _PAGE
        head = struct.pack("<8I", *_MAGIC[:2], _FAMILY_GIVEN, FLASH + at, _PAGE, number, count, RP2040)
        blocks.append((head + program[at : at + _PAGE]).ljust(508, b"\0") + struct.pack("<I", _MAGIC[2]))
    return b"".join(blocks)


def program(data: bytes) -> bytes:
    """The program in a UF2, from the start of the flash; raises ValueError for what is none for an RP2040."""
    found = bytearray()
    for at in range(0, len(data), _BLOCK):
        block = data[at : at + _BLOCK]
        if len(block) != _BLOCK or struct.unpack_from("<2I", block) != _MAGIC[:2]:
            raise ValueError("it is no UF2")
        place, size, family = (struct.unpack_from("<I", block, offset)[0] for offset in (12, 16, 28))
        if size > _BLOCK - _HEAD - 4 or family != RP2040 or not FLASH <= place < FLASH + _MOST_FLASH:
            raise ValueError("it is for another chip than the RP2040")
        place -= FLASH
        found += bytes(max(0, place + size - len(found)))
        found[place : place + size] = block[_HEAD : _HEAD + size]
    return bytes(found)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], epilog="Example: python tools/uf2.py firmware.bin firmware.uf2"
    )
    parser.add_argument("program", type=Path, help="as objcopy -O binary writes it")
    parser.add_argument("to", type=Path)
    parser.add_argument("--most", type=int, help="bytes that the program may have: what is behind it is not its own")
    asked = parser.parse_args()
    program = asked.program.read_bytes()
    if asked.most is not None and len(program) > asked.most:
        print(f"uf2: error: {asked.program} has {len(program)} bytes, {asked.most} are free", file=sys.stderr)
        return 1
    asked.to.write_bytes(uf2(program))
    return 0


if __name__ == "__main__":
    sys.exit(main())
