"""Applies a patch of codec 1 (docs/patch-format.md): steps behind an adaptive range coder.

What the steps say is bounded and done here; how they are read from the patch is the decoder's
work (bspatch_plain, which also says what lies between the two). The heap holds 1.7 KiB of
states, 512 bytes of the new file that copies may reach back to, 512 bytes of output and 256 of
input.
"""

from array import array

from bspatch import Out, PatchError
from bspatch_plain import (
    AT,
    BAD,
    CHANGE,
    CODE,
    CORE,
    END,
    KIND,
    LEFT,
    LEFT_OFF,
    LENGTH,
    LITERAL,
    LITERAL_NEED,
    NEED,
    OLD_COPY,
    RANGE,
    RUN,
    SEEK,
    VALUE,
)
from bspatch_start import STATES

try:
    from micropython import const
except ImportError:

    def const(value):
        return value


WINDOW = const(512)  # bytes of the new file that a copy may reach back
OUT_SIZE = const(512)
_IN_SIZE = const(256)
_FIRST_RANGE = const(0x1000000)
_FIRST_BYTES = const(3)
_MAX_LEFT_OFF = const(3)


def decoder(names=("_bspatch", "bspatch_viper", "bspatch_plain")):
    """The fastest decoder there is here: a module with `step` and `literal`."""
    for name in names[:-1]:
        try:
            return __import__(name)
        # None in this image, or machine code for another core; or Python that this core's
        # firmware does not compile to machine code.
        except (ImportError, ValueError, SyntaxError, MemoryError):
            pass
    return __import__(names[-1])


def apply(read_old, old_size, patch_stream, write, new_size, decode=None):
    """As bspatch.apply, for codec 1; decode: a decoder in place of the fastest."""
    steps = _Steps(patch_stream, new_size, decode or decoder())
    out = Out(read_old, write, bytearray(WINDOW + OUT_SIZE), WINDOW)
    core = steps.core
    at = 0  # in the old image
    left = new_size
    moved = False
    while left:
        core[LEFT] = left
        steps.next()
        run = core[RUN]
        kind = core[KIND]
        value = core[VALUE]
        if kind == BAD:
            raise PatchError("a number in the patch is too large")
        if run > left or run > old_size - at:
            raise PatchError("a run in the patch is too long")
        left -= run
        if not left:
            out.copy(at, run, 0)
            break
        if kind == CHANGE:
            if run == old_size - at:
                raise PatchError("the patch changes a byte after the old image")
            # The old byte comes with the run before it.
            out.copy(at, run + 1, value)
            at += run + 1
            left -= 1
            moved = False
            continue
        out.copy(at, run, 0)
        at += run
        if kind == SEEK:
            if moved and not run:
                raise PatchError("the patch moves twice")
            moved = True
            at += _signed(value)
            if not 0 <= at <= old_size:
                raise PatchError("the patch moves out of the old image")
            continue
        moved = False
        if kind == LITERAL:
            length = value + 1
            if length > left:
                raise PatchError("the patch makes more than the new image")
            steps.literals(out, length)
        else:
            length = core[LENGTH]
            if length > left:
                raise PatchError("the patch makes more than the new image")
            if kind == OLD_COPY:
                start = at + _signed(value)
                if start < 0 or length > old_size - start:
                    raise PatchError("the patch reads past the old image")
                out.copy(start, length, 0)
            else:
                if value >= min(new_size - left, WINDOW):
                    raise PatchError("the patch reaches back too far")
                _repeat(out, value + 1, length)
        left -= length
    steps.finish()
    out.flush()


def _signed(value):
    return -(value >> 1) - 1 if value & 1 else value >> 1


def _repeat(out, distance, count):
    """Goes on with what is `distance` bytes back."""
    made = 0
    back = distance
    while made < count:
        made += out.again(back, min(count - made, back))
        # What repeats is as long as twice the way back, so it is the same there.
        if distance + made >= 2 * back <= WINDOW:
            back *= 2


class _Steps:
    """The steps of a patch, and the input that they are read from."""

    def __init__(self, stream, new_size, decode):
        self._stream = stream
        self._step = decode.step
        self._literal = decode.literal
        self._data = bytearray(_IN_SIZE)
        self._view = memoryview(self._data)
        self._ended = False
        self._last = 1  # the last byte of input so far; no input does not end with zero
        self._model = array("H", ((byte >> 3) * 2048 + 1024 + (byte & 7) for byte in STATES))
        core = self.core = array("i", bytes(4 * CORE))
        core[KIND] = SEEK
        core[RANGE] = _FIRST_RANGE
        self._supply()
        for _ in range(_FIRST_BYTES):
            core[CODE] <<= 8
            if core[AT] < core[END]:
                core[CODE] |= self._data[core[AT]]
                core[AT] += 1
            else:
                core[LEFT_OFF] += 1

    def next(self):
        """Reads a step into core."""
        if not self._ended and self.core[END] - self.core[AT] < NEED:
            self._supply()
        self._step(self.core, self._model, self._data)
        self._check()

    def literals(self, out, count):
        core = self.core
        while count:
            view = out.room(count)
            count -= len(view)
            done = 0
            while done < len(view):
                if not self._ended and core[END] - core[AT] < NEED:
                    self._supply()
                part = len(view) - done
                if not self._ended:
                    part = min(part, (core[END] - core[AT]) // LITERAL_NEED)
                self._literal(core, self._model, self._data, view[done : done + part])
                done += part
                self._check()

    def finish(self):
        """What is left must be nothing, and what was read an encoder's shortest."""
        core = self.core
        if not self._ended and core[AT] == core[END]:
            self._supply()
        if core[AT] < core[END]:
            raise PatchError("the patch goes on after its end")
        left_off = core[LEFT_OFF]
        if core[CODE] >> 8 * left_off or (left_off < _MAX_LEFT_OFF and not self._last):
            raise PatchError("the patch is damaged at its end")

    def _check(self):
        if self.core[LEFT_OFF] > _MAX_LEFT_OFF:
            raise PatchError("the patch ends early")

    def _supply(self):
        """Moves what is left of the input to the front and reads more behind it."""
        core = self.core
        end = core[END] - core[AT]
        self._view[:end] = self._view[core[AT] : core[END]]
        while end < _IN_SIZE:
            count = self._stream.readinto(self._view[end:])
            if not count:
                self._ended = True
                break
            end += count
            self._last = self._data[end - 1]
        core[AT] = 0
        core[END] = end
