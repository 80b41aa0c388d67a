"""What an application measures: streams of measurements, each sampled, checked, brought to
engineering units, and gathered in windows.

A sample is an integer all the way: 1/scale of the unit, so that a board whose floats live on the
heap takes samples without it. Of a stream with a window of one sample each sample is sent; of any
other only what `gate.telemetry.features` says of a whole window leaves the board.
"""

from array import array

from gate import console
from gate.clock import const
from gate.telemetry import features

_MAX_NAME = const(32)
_MOST = const(0x0FFFFFFF)  # the largest magnitude of a sample
_LAST = const(1)  # of a window's words; where the window is one sample these two are all


class Measure:
    """One quantity. curve: array of x, y, x, y, ...: readings, rising, and what they stand for, in
    1/scale of the unit; None: a reading is that already. The curve may be replaced at any time
    (gate.telemetry.calibration).
    """

    # What is not given costs no RAM.
    scale = 1
    low = -_MOST
    high = _MOST
    tell = features.MEAN
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
        self.name = name
        self.unit = unit
        self.read = read
        if scale != 1:
            self.scale = scale
        if low is not None:
            self.low = max(-_MOST, round(low * scale))
        if high is not None:
            self.high = min(_MOST, round(high * scale))
        if tell:
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
        self.name = name
        self.measures = measures
        self.period_ms = period_s * 1000 if period_s else period_ms
        self.window = window
        self.frame = frame
        self.due_ms = self.taken = self.rejected = self.failures = self.kind = self._size = 0
        self._words = None

    def start(self, kind):
        """Settings count from here on. kind: the stream's number, for its owner."""
        self.kind = kind
        self._size = 2 if self.window == 1 else features.WORDS
        self._words = array("i", bytes(4 * self._size * len(self.measures)))

    def sample(self, now):
        """Takes one sample of everything, at ticks `now`; whether the window is full. Allocates
        nothing where the sources do not.
        """
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
                        self._take(measure, at, value, now)
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
                    features.tell(
                        words, at, measure.tell, measure.scale, measure.name, measure.unit, pack
                    )
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
        """Says so at the 1st, 2nd, 4th, 8th... failure: the log is for other things, too."""
        count = self.failures = self.failures + 1
        say = console.debug if count & (count - 1) else console.error
        say("source %s: %s: %s (failure %d)", name, type(error).__name__, error, count)

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
            features.add(self._words, at, value, now, measure.over)


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
