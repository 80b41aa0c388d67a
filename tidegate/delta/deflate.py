"""Raw deflate for small windows: packs data so that a 256-byte inflater can read it.

zlib packed with windowBits=9 never reaches back further than 512 - 262 = 250 bytes (MIN_LOOKAHEAD), so a
device may open the stream with a window of 2^8. That is a habit of one implementation, not a promise of
the format (RFC 1951): `max_distance` reads the stream itself, and `pack` keeps only what holds.
"""

from __future__ import annotations

import zlib

from tidegate.errors import TidegateError

MAX_DISTANCE = 250
_PACK_WINDOW = -9
_UNPACK_WINDOW = -8  # what the device opens
_WINDOW = 256

_LENGTH_EXTRA = (0,) * 8 + tuple(n // 4 for n in range(4, 24)) + (0,)
_DISTANCE_EXTRA = (0, 0, *(n // 2 for n in range(28)))
_DISTANCE_BASE = (1, 2, *(1 + (1 << (n // 2 + 1)) + (n % 2) * (1 << (n // 2)) for n in range(28)))
_CODE_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)


def pack(data: bytes) -> bytes:
    """The smallest raw deflate stream of `data` that a window of 256 bytes can read."""
    # The last two strategies use distance 1 or none and so always qualify, whichever zlib this is.
    streams = (
        _deflate(data, strategy)
        for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_RLE, zlib.Z_HUFFMAN_ONLY)
    )
    return next(s for s in sorted(streams, key=len) if max_distance(s) <= MAX_DISTANCE)


def unpack(stream: bytes, limit: int) -> bytes:
    """The data in `stream`, at most `limit` bytes; TidegateError for a damaged, cut or over-long one."""
    inflater = zlib.decompressobj(_UNPACK_WINDOW)
    try:
        data = inflater.decompress(stream, limit + 1)
    except zlib.error as error:
        raise TidegateError(f"the packed data is damaged: {error}") from error
    if len(data) > limit:
        raise TidegateError(f"the packed data holds more than {limit} bytes")
    if not inflater.eof:
        raise TidegateError("the packed data is cut off")
    if inflater.unused_data:
        raise TidegateError(f"the packed data has {len(inflater.unused_data)} bytes after its end")
    # zlib looks further back than its window as long as it has the bytes at hand; a device does not.
    furthest, padding = _read(stream)
    if furthest > _WINDOW:
        raise TidegateError(f"the packed data is damaged: it reaches back {furthest} bytes, at most {_WINDOW} are kept")
    if padding:
        raise TidegateError("the packed data is damaged: the bits after its end are not zero")
    return data


def about(data: bytes) -> int:
    """About how many bytes `pack` takes for `data`, to some in a thousand; for what is large."""
    return len(_deflate(data, zlib.Z_DEFAULT_STRATEGY))


def max_distance(stream: bytes) -> int:
    """The furthest any match of a well-formed raw deflate stream reaches back, in bytes (RFC 1951)."""
    return _read(stream)[0]


def _read(stream: bytes) -> tuple[int, int]:
    """Furthest distance, and the bits left over in the last byte."""
    bits = _Bits(stream)
    furthest = last = 0
    while not last:
        last = bits.take(1)
        kind = bits.take(2)
        if kind == 0:
            bits.skip_stored()
        else:
            furthest = max(furthest, _block_distance(bits, *_codes(bits, kind)))
    return furthest, bits.held


def _deflate(data: bytes, strategy: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, _PACK_WINDOW, 9, strategy)
    return packer.compress(data) + packer.flush()


# A Huffman code, as a table by the next bits of the stream: symbol << 4 | length. And how many bits that takes.
_Code = tuple[list[int], int]


class _Bits:
    """Bits of a stream, least significant first; zeros follow its end."""

    def __init__(self, stream: bytes):
        self._stream = stream
        self._position = 0
        self.held = self._count = 0

    def take(self, count: int) -> int:
        if self._count < count:
            self._load()
        value = self.held & ((1 << count) - 1)
        self.held >>= count
        self._count -= count
        return value

    def symbol(self, code: _Code) -> int:
        table, most = code
        if self._count < most:
            self._load()
        entry = table[self.held & ((1 << most) - 1)]
        length = entry & 15
        self.held >>= length
        self._count -= length
        return entry >> 4

    def skip_stored(self) -> None:
        self._position -= self._count // 8  # what was loaded too early; the rest of the byte is padding
        self.held = self._count = 0
        self._position += 4 + int.from_bytes(self._stream[self._position : self._position + 2], "little")

    def _load(self) -> None:
        self.held |= int.from_bytes(self._stream[self._position : self._position + 6], "little") << self._count
        self._position += 6
        self._count += 48


def _huffman(lengths: list[int]) -> _Code:
    """The canonical code of these lengths."""
    most = max(lengths) or 1
    table = [0] * (1 << most)
    value = 0
    for length in range(1, most + 1):
        for symbol, wanted in enumerate(lengths):
            if wanted == length:
                first = int(f"{value:0{length}b}"[::-1], 2)  # a code's highest bit comes first
                table[first :: 1 << length] = [symbol << 4 | length] * (1 << most - length)
                value += 1
        value <<= 1
    return table, most


def _codes(bits: _Bits, kind: int) -> tuple[_Code, _Code]:
    if kind == 1:
        fixed = [8] * 144 + [9] * 112 + [7] * 24 + [8] * 8
        return _huffman(fixed), _huffman([5] * 30)
    literals, distances, count = bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4
    code_lengths = [0] * 19
    for symbol in _CODE_ORDER[:count]:
        code_lengths[symbol] = bits.take(3)
    code = _huffman(code_lengths)
    lengths: list[int] = []
    while len(lengths) < literals + distances:
        symbol = bits.symbol(code)
        if symbol < 16:
            lengths.append(symbol)
        elif symbol == 16:
            lengths += [lengths[-1]] * (3 + bits.take(2))
        else:
            lengths += [0] * (3 + bits.take(3) if symbol == 17 else 11 + bits.take(7))
    return _huffman(lengths[:literals]), _huffman(lengths[literals:])


def _block_distance(bits: _Bits, literals: _Code, distances: _Code) -> int:
    furthest = 0
    while (symbol := bits.symbol(literals)) != 256:
        if symbol > 256:
            bits.take(_LENGTH_EXTRA[symbol - 257])
            code = bits.symbol(distances)
            furthest = max(furthest, _DISTANCE_BASE[code] + bits.take(_DISTANCE_EXTRA[code]))
    return furthest
