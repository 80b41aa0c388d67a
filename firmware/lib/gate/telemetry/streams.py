"""What an application measures: streams of measurements, each sampled, checked, brought to
engineering units, and gathered in windows.

A sample is an integer all the way: 1/scale of the unit, so that a board whose floats live on the
heap takes samples without it. A stream with a window of one sample sends each sample; any other
sends only features of the whole window: mean, deviation, extremes, rate, count over a threshold.

Samples are integers, and so are all sums; they are exact, so nothing cancels out and no rounding
adds up, however long the window. A window has 13 words in an array of the stream; taking a sample
in allocates nothing, on a board with integers of 31 bits neither. Sums are taken of the distance
to the window's first sample and stored in pieces of 24 bits.
"""

import math
import sys
from array import array

import senml_cbor

from gate import console
from gate.clock import const, ticks_diff

_MAX_NAME = const(32)
_ROOM = b"." * 54
DAY_MS = const(86400000)
MAX_WINDOW = const(65535)
_MOST = const(0x0FFFFFFF)  # the largest magnitude of a sample
# What a window can tell; add them up.
MEAN = const(1)
MIN = const(2)
MAX = const(4)
DEV = const(8)  # standard deviation, of a sample: n - 1
RATE = const(16)  # from the first to the last sample, per second
OVER = const(32)  # samples above the threshold

# A window's words; it begins with the count.
_WORDS = const(13)
_LAST = const(1)  # where a window is one sample, the count and this are all
_FIRST = const(2)
_MIN = const(3)
_MAX = const(4)
_SUM = const(5)  # and 6: of distances, low 24 bits and the rest
_SQUARES = const(7)  # to 9: of their squares, 24 bits, 24 bits and the rest
_OVER = const(10)
_FIRST_AT = const(11)  # ms since the window's first sample
_LAST_AT = const(12)
_PIECE = const(0xFFFFFF)
# ms; a difference of ticks says nothing beyond 6 days, so time is added up from sample to sample,
# and a window that lasts longer than these 12 days tells no rate.
_LONGEST = const(0x3FFFFFFF)


class Measure:
    """One quantity. curve: array of x, y, x, y, ...: readings, rising, and what they stand for, in
    1/scale of the unit; None: a reading is that already. The curve may be replaced at any time
    (gate.telemetry.calibration).
    """

    # What is not given costs no RAM.
    scale = 1
    low = -_MOST
    high = _MOST
    tell = MEAN
    over = given = curve = None

    def __init__(
        self, name, unit, read, scale=1, low=None, high=None, tell=None, over=None, curve=None
    ):
        """name: of the SenML record; unit: of the SenML registry; read: a function that returns
        an integer, a float (rounded to 1/scale; allocates where floats do) or None for no value
        now; in a stream of frames the place in the frame, (first byte, bytes, signed), low byte
        first. low, high: what is believed, in units; tell: which features, when there is a
        window; over: threshold of the count, in units; curve: ((reading, value in units), ...).
        """
        # 54 characters are the base name's, 9 those of ".rejected".
        senml_cbor.check_name(_ROOM, name, b".rejected")
        if unit is not None and not isinstance(unit, (str, bytes)):
            raise ValueError("%s: a unit is a text of the SenML registry, not %r" % (name, unit))
        _check_whole(name + ": the scale", scale, _MOST)
        self.name = name
        self.unit = unit
        self.read = read
        if scale != 1:
            self.scale = scale
        if low is not None:
            self.low = max(-_MOST, round(low * scale))
        if high is not None:
            self.high = min(_MOST, round(high * scale))
        if self.low > self.high:
            raise ValueError("%s: nothing lies between its low and high" % name)
        if tell:
            _check_whole(name + ": tell", tell, MEAN + MIN + MAX + DEV + RATE + OVER)
            self.tell = tell
        if over is not None:
            self.over = round(over * scale)
        if curve:
            self.given = self.curve = make_curve(curve, scale)


class Stream:
    """Measurements sampled together and published under up/tele/<name>.

    failures: values that a source did not give; rejected: samples of this window that were not
    believed. due_ms: until the next sample, for whoever samples.
    """

    def __init__(self, name, *measures, period_s=None, period_ms=None, window=1, frame=None):
        """period_s or period_ms: between samples, neither: the device's telemetry_period_s;
        window: samples a message; frame: gate.telemetry.e2e_frame.Frame (or alike) that
        measurements are decoded from.
        """
        if not 0 < len(name) <= _MAX_NAME:
            raise ValueError("a stream's name has 1 to %d characters" % _MAX_NAME)
        for char in name:
            if not (char.isalpha() or char.isdigit() or char in "._-") or char > "z":
                raise ValueError("a stream's name has letters, digits, ., _ and -, not %r" % char)
        if period_s:
            period_ms = round(period_s * 1000)
        if period_ms is not None and not 1 <= period_ms <= DAY_MS:
            raise ValueError("stream %s: a period of 1 ms to a day, or none" % name)
        _check_whole("the window", window, MAX_WINDOW)
        self.name = name
        self.measures = measures
        self.period_ms = None if period_ms is None else round(period_ms)
        self.window = window
        self.frame = frame
        self.due_ms = self.taken = self.rejected = self.failures = self.kind = self._size = 0
        self._words = None
        self._at = self._elapsed = 0  # the last sample: ticks, ms since the window's first

    def start(self, kind):
        """Settings count from here on. kind: the stream's number, for its owner."""
        self.kind = kind
        self._size = 2 if self.window == 1 else _WORDS
        self._words = array("i", bytes(4 * self._size * len(self.measures)))

    def sample(self, now):
        """Takes one sample of everything, at ticks `now`; whether the window is full. Allocates
        nothing where the sources do not.
        """
        passed = ticks_diff(now, self._at)
        self._at = now
        self._elapsed = min(self._elapsed + passed, _LONGEST) if self.taken else 0
        self.taken += 1
        frame = self.frame
        good = True
        if frame is not None:
            try:
                good = frame.receive()
            except Exception as error:
                good = self._failed(self.name, error)
        if good:
            at = 0
            for measure in self.measures:
                try:
                    read = measure.read
                    value = read() if frame is None else field(frame.data, read)
                    if value is not None:
                        self._take(measure, at, value, self._elapsed)
                except Exception as error:
                    self._failed(measure.name, error)
                at += self._size
        elif good is False:
            self.rejected += 1
        return self.taken >= self.window

    def tell(self, pack):
        """Adds to a senml_cbor.Pack what the window says, or nothing if there is nothing. May
        raise senml_cbor.SenmlError; `clear` starts the next window.
        """
        at = 0
        words = self._words
        for measure in self.measures:
            if words[at]:
                if self.window == 1:
                    last = words[at + _LAST]
                    pack.add(measure.name, last, measure.unit, None, measure.scale)
                else:
                    _tell(words, at, measure.tell, measure.scale, measure.name, measure.unit, pack)
            at += self._size
        if self.rejected:
            pack.add(self.name, self.rejected, b"count", None, None, b".rejected")

    def clear(self):
        self.taken = self.rejected = 0
        at = 0
        while at < len(self._words):
            self._words[at] = 0
            at += self._size

    def _failed(self, name, error):
        """Says so at the 1st, 2nd, 4th, 8th... failure: the log is for other things, too.

        The first comes with its trace, for the person with a cable.
        """
        count = self.failures = self.failures + 1
        say = console.debug if count & (count - 1) else console.error
        say("source %s: %s: %s (failure %d)", name, type(error).__name__, error, count)
        if count == 1 and hasattr(sys, "print_exception"):  # MicroPython
            sys.print_exception(error)

    def _take(self, measure, at, value, now):
        """Calibrates, validates, and adds to the window."""
        curve = measure.curve
        if not isinstance(value, int):
            value = round(value if curve else value * measure.scale)
        if curve:
            value = interpolate(curve, value)
        if not measure.low <= value <= measure.high:
            self.rejected += 1
        elif self._size == 2:
            self._words[at] = 1
            self._words[at + _LAST] = value
        else:
            _add(self._words, at, value, now, measure.over)


def _check_whole(what, number, most):
    """Raises ValueError unless it is a whole number from 1 to `most`."""
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= most:
        raise ValueError("%s is a whole number from 1 to %d, not %r" % (what, most, number))


# ---------------------------------------------------------------- windows


def _add(words, at, value, now, over):
    """Takes a sample into the window at words[at:]; over: the threshold, or None."""
    count = words[at]
    words[at] = count + 1
    words[at + _LAST] = value
    words[at + _LAST_AT] = now
    if count == 0:
        words[at + _FIRST] = words[at + _MIN] = words[at + _MAX] = value
        words[at + _FIRST_AT] = now
        for piece in range(at + _SUM, at + _OVER + 1):
            words[piece] = 0
    elif value < words[at + _MIN]:
        words[at + _MIN] = value
    elif value > words[at + _MAX]:
        words[at + _MAX] = value
    if over is not None and value > over:
        words[at + _OVER] += 1
    distance = value - words[at + _FIRST]
    if distance:
        _sum(words, at + _SUM, distance)


def _sum(words, at, distance):
    low = words[at] + (distance & _PIECE)
    words[at] = low & _PIECE
    words[at + 1] += (distance >> 24) + (low >> 24)
    # Its square. Below 2**29, so high * high, high * low and low * low stay below 2**30.
    at += _SQUARES - _SUM
    if distance < 0:
        distance = -distance
    low, high = distance & 0x7FFF, distance >> 15
    square = low * low
    first = words[at] + (square & _PIECE)
    second = words[at + 1] + (square >> 24)
    if high:
        square = high * low  # times 2**16
        first += (square & 0xFF) << 16
        second += square >> 8
        square = high * high  # times 2**30
        second += (square & 0x3FFFF) << 6
        words[at + 2] += square >> 18
    second += first >> 24
    words[at] = first & _PIECE
    words[at + 1] = second & _PIECE
    words[at + 2] += second >> 24


def _tell(words, at, chosen, scale, name, unit, pack):
    """Adds to a senml_cbor.Pack the chosen features of a window that has a sample, as name.mean
    and so on. scale: samples are 1/scale of the unit. May raise senml_cbor.SenmlError.
    """
    count = words[at]
    first = words[at + _FIRST]
    total = (words[at + _SUM + 1] << 24) + words[at + _SUM]
    if chosen & MEAN:
        pack.add(name, first * count + total, unit, None, count * scale, b".mean")
    if chosen & MIN:
        pack.add(name, words[at + _MIN], unit, None, scale, b".min")
    if chosen & MAX:
        pack.add(name, words[at + _MAX], unit, None, scale, b".max")
    if chosen & DEV:
        dev = 0
        if count > 1:  # exact until the root is drawn
            piece = at + _SQUARES
            squares = (words[piece + 2] << 48) + (words[piece + 1] << 24) + words[piece]
            dev = math.sqrt((count * squares - total * total) / (count * (count - 1))) / scale
        pack.add(name, dev, unit, None, None, b".dev")
    elapsed = words[at + _LAST_AT] - words[at + _FIRST_AT]
    if chosen & RATE and elapsed > 0 and words[at + _LAST_AT] < _LONGEST:
        rise = (words[at + _LAST] - first) * 1000
        pack.add(name, rise, None, None, elapsed * scale, b".rate")
    if chosen & OVER:
        pack.add(name, words[at + _OVER], b"count", None, None, b".over")


# ---------------------------------------------------------------- curves and fields


def calibrator(streams):
    """The function that takes the calibration table of these streams: for Agent's `data`."""

    def take(path):
        from gate.telemetry import calibration  # RAM only while a table comes

        calibration.use(path, streams, make_curve)

    return take


def make_curve(points, scale):
    """The curve through ((reading, value in units), ...); raises ValueError for one that makes no
    sense.
    """
    if not 2 <= len(points) <= 32:
        raise ValueError("a curve has 2 to 32 points")
    curve = array("i", bytes(8 * len(points)))
    for at in range(len(points)):
        reading, value = points[at]
        ticks = round(value * scale)
        if not isinstance(reading, int) or not -_MOST <= reading <= _MOST:
            raise ValueError("a reading of a curve is a whole number, not %r" % (reading,))
        if not -_MOST <= ticks <= _MOST:
            raise ValueError("%r is out of range" % (value,))
        if at and reading <= curve[2 * at - 2]:
            raise ValueError("the readings of a curve must rise")
        curve[2 * at], curve[2 * at + 1] = reading, ticks
    return curve


def interpolate(curve, reading):
    """The value of a reading: on the line between its neighbours, beyond the ends on the last one;
    rounded to the nearest. Allocates nothing while the product of a piece's width and height
    stays below 2**30.
    """
    at = 2
    last = len(curve) - 2
    while at < last and reading > curve[at]:
        at += 2
    x, y = curve[at - 2], curve[at - 1]
    width = curve[at] - x
    return y + ((reading - x) * (curve[at + 1] - y) + width // 2) // width


def field(data, place):
    """An integer of a frame: place is (first byte, bytes, signed), low byte first."""
    first, size, signed = place
    value = shift = 0
    for at in range(first, first + size):
        value |= data[at] << shift
        shift += 8
    if signed and value >> (shift - 1):
        value -= 1 << shift
    return value
