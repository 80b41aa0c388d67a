"""A binary range coder with adaptive probabilities, in numbers that fit MicroPython's small integers.

The interval is 22 to 30 bits wide and is refilled a byte at a time, so nothing a decoder computes reaches 2^30.
A state is 16 bits: the probability of a 0 in 1/4096, and in its low four bits how often it has been used, up to
`STEADY`: young states learn fast. The page that binds both ends: docs/patch-format.md, "Codec 1".
"""

from __future__ import annotations

from tidegate.delta.container import PatchError

# One wrong byte in a range-coded stream changes all that follows, so an error cannot say what was wrong.
DAMAGED = "the patch is damaged, cut off or over-long"

TOP = 1 << 22  # the interval is refilled when it is narrower
FIRST_RANGE = 1 << 24
FIRST_BYTES = 3
MAX_LEFT_OFF = 3  # zero bytes that the end of a stream does without
SHIFTS = (1, 2, 2, 3, 3, 3, 3, 4)  # how fast a state moves, by its use count
STEADY = len(SHIFTS) - 1


class Encoder:
    """Codes decisions with the given states (changed as it goes); `finish` gives the bytes."""

    def __init__(self, states: list[int]):
        self._states = states
        self._low = 0  # 32 bits, and a carry above them
        self._range = FIRST_RANGE
        self._out = bytearray()

    def bit(self, index: int, bit: int) -> None:
        """One decision by the state at `index`."""
        if self._range < TOP:
            self._refill()
        state = self._states[index]
        probability = state >> 4
        count = state & 15
        bound = (self._range >> 12) * probability
        if bit:
            self._low += bound
            self._range -= bound
            probability -= probability >> SHIFTS[count]
        else:
            self._range = bound
            probability += (4096 - probability) >> SHIFTS[count]
        self._states[index] = probability << 4 | (count if count == STEADY else count + 1)

    def direct(self, value: int, count: int) -> None:
        """The low `count` bits of `value`, highest first, as even chances."""
        for at in range(count - 1, -1, -1):
            if self._range < TOP:
                self._refill()
            self._range >>= 1
            if value >> at & 1:
                self._low += self._range

    def finish(self) -> bytes:
        """The shortest byte string that stands for the interval reached."""
        for left_off in range(MAX_LEFT_OFF, -1, -1):
            unit = 1 << 8 * left_off
            value = (self._low + unit - 1) // unit * unit
            if value < self._low + self._range:
                break
        self._low = value
        for _ in range(4):
            self._shift()
        # The first byte out is what stood above the first interval: nothing.
        return bytes(self._out[1 : len(self._out) - left_off])

    def _refill(self) -> None:
        while self._range < TOP:
            self._shift()
            self._range <<= 8

    def _shift(self) -> None:
        if self._low >> 32:
            at = len(self._out) - 1
            while self._out[at] == 0xFF:
                self._out[at] = 0
                at -= 1
            self._out[at] += 1
        self._out.append(self._low >> 24 & 0xFF)
        self._low = (self._low & 0xFFFFFF) << 8


class Decoder:
    """Reads decisions back; PatchError where the bytes cannot be an encoder's."""

    def __init__(self, states: list[int], data: bytes, position: int):
        self._states = states
        self._data = data
        self._position = position
        self._first = position
        self._left_off = 0
        self._range = FIRST_RANGE
        self._code = 0
        for _ in range(FIRST_BYTES):
            self._code = self._code << 8 | self._byte()

    def bit(self, index: int) -> int:
        """The next decision by the state at `index`."""
        if self._range < TOP:
            self._refill()
        state = self._states[index]
        probability = state >> 4
        count = state & 15
        bound = (self._range >> 12) * probability
        if self._code < bound:
            bit = 0
            self._range = bound
            probability += (4096 - probability) >> SHIFTS[count]
        else:
            bit = 1
            self._code -= bound
            self._range -= bound
            probability -= probability >> SHIFTS[count]
        self._states[index] = probability << 4 | (count if count == STEADY else count + 1)
        return bit

    def direct(self, count: int) -> int:
        """The next `count` even chances as a number."""
        value = 0
        for _ in range(count):
            if self._range < TOP:
                self._refill()
            self._range >>= 1
            value <<= 1
            if self._code >= self._range:
                self._code -= self._range
                value |= 1
        return value

    def finish(self) -> None:
        """Check that the bytes end here and are the ones an encoder would have written."""
        if self._position < len(self._data):
            raise PatchError(f"{DAMAGED}: it goes on after its end")
        ends_in_zero = self._left_off < MAX_LEFT_OFF and self._position > self._first and not self._data[-1]
        if ends_in_zero or self._code >> 8 * self._left_off:
            raise PatchError(f"{DAMAGED}: its last bytes are not what ends it")

    def _refill(self) -> None:
        while self._range < TOP:
            self._code = self._code << 8 | self._byte()
            self._range <<= 8

    def _byte(self) -> int:
        if self._position < len(self._data):
            self._position += 1
            return self._data[self._position - 1]
        self._left_off += 1
        if self._left_off > MAX_LEFT_OFF:
            raise PatchError(f"{DAMAGED}: it ends before the file is complete")
        return 0
