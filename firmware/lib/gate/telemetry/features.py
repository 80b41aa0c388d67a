"""What is said of a window of samples: mean, deviation, extremes, rate, count over a threshold.

Samples are integers, and so are all sums; they are exact, so nothing cancels out and no rounding
adds up, however long the window. A window has 13 words in an array of the stream; taking a sample
in allocates nothing, on a board with integers of 31 bits neither. Sums are taken of the distance
to the window's first sample and kept in pieces of 24 bits.
"""

import math

from gate.clock import const, ticks_diff

# What a window can tell; add them up.
MEAN = const(1)
MIN = const(2)
MAX = const(4)
DEV = const(8)  # standard deviation, of a sample: n - 1
RATE = const(16)  # from the first to the last sample, per second
OVER = const(32)  # samples above the threshold

# A window's words; it begins with the count.
WORDS = const(13)
_LAST = const(1)
_FIRST = const(2)
_MIN = const(3)
_MAX = const(4)
_SUM = const(5)  # and 6: of distances, low 24 bits and the rest
_SQUARES = const(7)  # to 9: of their squares, 24 bits, 24 bits and the rest
_OVER = const(10)
_FIRST_AT = const(11)  # ticks
_LAST_AT = const(12)
_PIECE = const(0xFFFFFF)


def add(words, at, value, now, over):
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


def tell(words, at, wanted, scale, name, unit, pack):
    """Adds to a senml_cbor.Pack what is wanted of a window that has a sample, as name.mean and so
    on. scale: samples are 1/scale of the unit. May raise senml_cbor.SenmlError.
    """
    count = words[at]
    first = words[at + _FIRST]
    total = (words[at + _SUM + 1] << 24) + words[at + _SUM]
    if wanted & MEAN:
        pack.add(name, first * count + total, unit, None, count * scale, b".mean")
    if wanted & MIN:
        pack.add(name, words[at + _MIN], unit, None, scale, b".min")
    if wanted & MAX:
        pack.add(name, words[at + _MAX], unit, None, scale, b".max")
    if wanted & DEV:
        dev = 0
        if count > 1:  # exact until the root is drawn
            piece = at + _SQUARES
            squares = (words[piece + 2] << 48) + (words[piece + 1] << 24) + words[piece]
            dev = math.sqrt((count * squares - total * total) / (count * (count - 1))) / scale
        pack.add(name, dev, unit, None, None, b".dev")
    elapsed = ticks_diff(words[at + _LAST_AT], words[at + _FIRST_AT])
    if wanted & RATE and elapsed > 0:
        rise = (words[at + _LAST] - first) * 1000
        pack.add(name, rise, None, None, elapsed * scale, b".rate")
    if wanted & OVER:
        pack.add(name, words[at + _OVER], b"count", None, None, b".over")
