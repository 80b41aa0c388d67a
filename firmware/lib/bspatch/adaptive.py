"""Applies a patch of codec 1 (docs/patch-format.md): steps behind an adaptive range coder.

This module bounds and carries out the steps; the decoder reads them from the patch (bspatch.plain
describes the interface between the two). The heap holds 1.7 KiB of states, two pieces of output of
512 bytes, so that copies can reach back, and 256 bytes of input.
"""

import sys
from array import array

from bspatch.out import Out, PatchError
from bspatch.start import STATES

try:
    from micropython import const
except ImportError:

    def const(value):
        return value


# As in bspatch.plain: places in core, kinds of steps, bytes of input. Here again because a const
# costs nothing in its own file only.
_RANGE = const(0)
_CODE = const(1)
_AT = const(2)
_END = const(3)
_LEFT_OFF = const(4)
_LEFT = const(5)
_RUN = const(6)
_KIND = const(7)
_VALUE = const(8)
_LENGTH = const(9)
_CORE = const(10)
_CHANGE = const(0)
_LITERAL = const(1)
_OLD_COPY = const(2)
_SEEK = const(4)
_BAD = const(6)
_NEED = const(208)
_LITERAL_NEED = const(16)

WINDOW = const(512)  # bytes of the new file that a copy may reach back
OUT_SIZE = const(512)  # of a piece of output; one piece back is the window
_IN_SIZE = const(256)
_FIRST_RANGE = const(0x1000000)
_FIRST_BYTES = const(3)
_MAX_LEFT_OFF = const(3)


def decoder(names=("_bspatch", "bspatch.viper", "bspatch.plain")):
    """The fastest decoder for this core: a module with `step` and `literal`."""
    for name in names:
        try:
            return _module(name)
        # None in this image, or machine code for another core; or Python that this core's
        # firmware does not compile to machine code.
        except (ImportError, ValueError, SyntaxError, MemoryError):
            pass
    raise MemoryError("no room for the decoder")  # as an image holds one, it can be loaded later


def _module(name):
    """The module behind a dotted name; `__import__` alone gives the package."""
    __import__(name)
    return sys.modules[name]


def apply(read_old, old_size, patch_stream, write, new_size, decode=None):
    """As bspatch.apply, for codec 1; decode: a decoder in place of the fastest."""
    steps = _Steps(patch_stream, decode or decoder())
    out = Out(read_old, write, bytearray(2 * OUT_SIZE), OUT_SIZE)
    core = steps.core
    at = 0  # in the old image
    left = new_size
    moved = False
    while left:
        core[_LEFT] = left
        steps.next()
        run = core[_RUN]
        kind = core[_KIND]
        if kind == _BAD:
            raise PatchError("a number in the patch is too large")
        if run > left or run > old_size - at:
            raise PatchError("a run in the patch is too long")
        left -= run
        if not left:
            out.copy(at, run, 0)
            break
        value = core[_VALUE]
        if kind == _CHANGE:
            if not value:
                raise PatchError("a change in the patch changes nothing")
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
        if kind == _SEEK:
            if moved and not run:
                raise PatchError("the patch moves twice")
            moved = True
            at += _signed(value)
            if not 0 <= at <= old_size:
                raise PatchError("the patch moves out of the old image")
            continue
        moved = False
        if kind == _LITERAL:
            length = value + 1
            if length > left:
                raise PatchError("the patch makes more than the new image")
            steps.literals(out, length)
        else:
            length = core[_LENGTH]
            if length > left:
                raise PatchError("the patch makes more than the new image")
            if kind == _OLD_COPY:
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
    """Repeats the output from `distance` bytes back, count bytes of it."""
    made = 0
    back = distance
    while made < count:
        made += out.again(back, min(count - made, back))
        # What repeats is as long as twice the way back, so it is the same there.
        if distance + made >= 2 * back <= WINDOW:
            back *= 2


class _Steps:
    """The steps of a patch, and the input that they are read from."""

    def __init__(self, stream, decode):
        self._stream = stream
        self._step = decode.step
        self._literal = decode.literal
        self._data = bytearray(_IN_SIZE)
        self._view = memoryview(self._data)
        self._ended = False
        self._last = 1  # the last byte of input so far; no input does not end with zero
        self._model = array("H", STATES)
        core = self.core = array("i", bytes(4 * _CORE))
        core[_KIND] = _SEEK
        core[_RANGE] = _FIRST_RANGE
        self._supply()
        for _ in range(_FIRST_BYTES):
            core[_CODE] <<= 8
            if core[_AT] < core[_END]:
                core[_CODE] |= self._data[core[_AT]]
                core[_AT] += 1
            else:
                core[_LEFT_OFF] += 1

    def next(self):
        """Reads a step into core."""
        core = self.core
        if not self._ended and core[_END] - core[_AT] < _NEED:
            self._supply()
        self._step(core, self._model, self._data)
        if core[_LEFT_OFF] > _MAX_LEFT_OFF:
            raise PatchError("the patch ends early")

    def literals(self, out, count):
        core = self.core
        while count:
            view = out.room(count)
            count -= len(view)
            done = 0
            while done < len(view):
                if not self._ended and core[_END] - core[_AT] < _NEED:
                    self._supply()
                part = len(view) - done
                if not self._ended:
                    part = min(part, (core[_END] - core[_AT]) // _LITERAL_NEED)
                self._literal(core, self._model, self._data, view[done : done + part])
                done += part
                if core[_LEFT_OFF] > _MAX_LEFT_OFF:
                    raise PatchError("the patch ends early")

    def finish(self):
        """Checks that the patch ends here, in the shortest form an encoder writes."""
        core = self.core
        if not self._ended and core[_AT] == core[_END]:
            self._supply()
        if core[_AT] < core[_END]:
            raise PatchError("the patch goes on after its end")
        left_off = core[_LEFT_OFF]
        if core[_CODE] >> 8 * left_off or (left_off < _MAX_LEFT_OFF and not self._last):
            raise PatchError("the patch is damaged at its end")

    def _supply(self):
        """Moves what is left of the input to the front and reads more behind it."""
        core = self.core
        end = core[_END] - core[_AT]
        self._view[:end] = self._view[core[_AT] : core[_END]]
        while end < _IN_SIZE:
            count = self._stream.readinto(self._view[end:])
            if not count:
                self._ended = True
                break
            end += count
            self._last = self._data[end - 1]
        core[_AT] = 0
        core[_END] = end
