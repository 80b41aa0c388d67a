"""Applies a Tidegate patch (docs/patch-format.md): old image + patch -> new image, streaming.

    header = bspatch.header(file)  # check header.old_check, header.new_size
    bspatch.apply(read_old, old_size, file, write, header.new_size, codec=header.codec)

The old image is read at random, the new one written once and in order, and the patch read once;
the heap peak is below 4 KiB. Every length and position is bounded before it is used: whatever the
patch says, nothing outside the old image is read, no more than new_size bytes are written, and any
error in it raises PatchError. The caller compares the result with its signed digest.

Codec 0 is decoded here, with MicroPython's own inflater; codec 1 in bspatch.adaptive, by machine
code where there is any for this core.
"""

from collections import namedtuple

from bspatch.out import Out, PatchError

try:
    from micropython import const
except ImportError:

    def const(value):
        return value


try:
    from deflate import RAW, DeflateIO
except ImportError:
    import zlib

    RAW = 1

    class DeflateIO:
        """The part of MicroPython's class that is used here, on zlib. Takes single bytes from the
        stream, so that, like the original, it never reads past the end of the deflate data.
        """

        def __init__(self, stream, _format, wbits):
            self._stream = stream
            self._zlib = zlib.decompressobj(-wbits)
            self._input = b""

        def readinto(self, view):
            done = 0
            while done < len(view) and not self._zlib.eof:
                try:
                    part = self._zlib.decompress(self._input, len(view) - done)
                except zlib.error as error:
                    raise OSError(22, str(error))
                self._input = self._zlib.unconsumed_tail
                view[done : done + len(part)] = part
                done += len(part)
                if not part and not self._input and not self._zlib.eof:
                    self._input = self._stream.read(1)
                    if not self._input:
                        raise EOFError
            return done


MAX_IMAGE = const(0x1000000)  # bytes; no board has slots this large
OUT_SIZE = const(1024)  # bytes of the output buffer, where the caller gives none
_IN_SIZE = const(64)
_MAGIC = const(0xD0)  # high half of the first byte; the low half is the codec
DEFLATE = const(0)  # codecs
ADAPTIVE = const(1)
# zlib with a window of 2**9 never reaches back further than 250 bytes, so a window of 2**8 is
# enough to read it.
_WINDOW = const(8)
_VARINT_BYTES = const(5)
_CHECK_SIZE = const(4)

__version__ = "0.3.0"

# codec; sizes in bytes; the first 4 bytes of the SHA-256 of the old and of the new image.
Header = namedtuple("Header", ("codec", "old_size", "new_size", "old_check", "new_check"))


def header(patch_stream):
    """Reads the Header and leaves the stream at the body, for `apply`. Raises PatchError."""
    data = _Plain(patch_stream)
    first = data.byte()
    if first & 0xF0 != _MAGIC:
        raise PatchError("not a patch: it starts with %02x" % first)
    codec = first & 0x0F
    if codec > ADAPTIVE:
        raise PatchError("patch codec %d is not supported" % codec)
    old_size = _uvarint(data)
    new_size = old_size + _zigzag(data)
    if old_size > MAX_IMAGE or not 0 <= new_size <= MAX_IMAGE:
        raise PatchError("the patch names images larger than %d bytes" % MAX_IMAGE)
    checks = patch_stream.read(2 * _CHECK_SIZE)
    if len(checks) != 2 * _CHECK_SIZE:
        raise PatchError("the patch ends early")
    old_check, new_check = checks[:_CHECK_SIZE], checks[_CHECK_SIZE:]
    return Header(codec, old_size, new_size, old_check, new_check)


def apply(read_old, old_size, patch_stream, write, new_size, buf=None, codec=DEFLATE):
    """Makes the new image from the body of a patch; codec: as its header says.

    read_old(offset, view) fills view from the old image of old_size bytes; write(view) takes
    the next bytes of the new one, new_size in all, in pieces of len(buf) (the last may be
    shorter; codec 1 has a buffer of its own), and must not keep view. patch_stream stands after
    the header and must end with the patch. Raises PatchError; what the two callbacks raise
    passes.
    """
    if codec == ADAPTIVE:
        from bspatch import adaptive

        adaptive.apply(read_old, old_size, patch_stream, write, new_size)
        return
    ops = _Inflated(patch_stream)
    buf = bytearray(OUT_SIZE) if buf is None else buf
    out = Out(read_old, write, buf, len(buf))
    at = 0  # in the old image
    left = new_size
    first = True
    while left:
        x = _uvarint(ops)
        y = _uvarint(ops)
        z = _zigzag(ops)
        if x + y > left:
            raise PatchError("the patch makes more than the new image")
        if x > old_size - at:
            raise PatchError("the patch reads past the old image")
        # Only the first may do nothing but move (so bsdiff starts); more would let a short patch
        # keep us for hours.
        if x == 0 and y == 0 and not first:
            raise PatchError("an operation of the patch makes nothing")
        first = False
        end = at + x
        while at < end:
            run = _uvarint(ops)
            if run > end - at:
                raise PatchError("a run in the patch is too long")
            if at + run < end:
                out.copy(at, run + 1, ops.byte())
                at += run + 1
            else:
                out.copy(at, run, 0)
                at = end
        out.literal(ops, y)
        at += z
        left -= x + y
        if not 0 <= at <= old_size:
            raise PatchError("the patch moves out of the old image")
        if not left and z:
            raise PatchError("the patch moves after its end")
    if not ops.ended() or patch_stream.read(1):
        raise PatchError("the patch goes on after its end")
    out.flush()


def _uvarint(data):
    """An unsigned LEB128 number below 2**32, in its shortest form."""
    value = 0
    for shift in range(0, 7 * _VARINT_BYTES, 7):
        byte = data.byte()
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if (byte == 0 and shift) or (byte > 0x0F and shift == 28):
                break
            return value
    raise PatchError("a number in the patch is too long")


def _zigzag(data):
    value = _uvarint(data)
    return -(value >> 1) - 1 if value & 1 else value >> 1


class _Plain:
    """Single bytes of a stream."""

    def __init__(self, stream):
        self._stream = stream

    def byte(self):
        data = self._stream.read(1)
        if not data:
            raise PatchError("the patch ends early")
        return data[0]


class _Inflated:
    """Single bytes, and longer pieces, of a raw deflate stream."""

    def __init__(self, stream):
        self._inflater = DeflateIO(stream, RAW, _WINDOW)
        self._data = bytearray(_IN_SIZE)
        self._at = 0
        self._end = 0

    def _inflate(self, view):
        # OSError: damaged deflate data (or storage that cannot be read); EOFError: cut off.
        try:
            return self._inflater.readinto(view)
        except (OSError, EOFError, ValueError) as error:
            raise PatchError("the patch is damaged or cut off: %r" % error)

    def _fill(self):
        self._at = 0
        self._end = self._inflate(self._data)
        return self._end > 0

    def byte(self):
        if self._at == self._end and not self._fill():
            raise PatchError("the patch ends early")
        self._at += 1
        return self._data[self._at - 1]

    def readinto(self, view):
        """Fills view."""
        done = min(self._end - self._at, len(view))
        view[:done] = self._data[self._at : self._at + done]
        self._at += done
        while done < len(view):
            count = self._inflate(view[done:])
            if not count:
                raise PatchError("the patch ends early")
            done += count

    def ended(self):
        return self._at == self._end and not self._fill()
