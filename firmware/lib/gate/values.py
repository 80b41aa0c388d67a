"""Typed, bounded values: the arguments of opcodes and the settings of an application.

A specification is (type, least, most[, default]); the bounds are lengths for str (characters) and
bytes; (bool,) or (bool, default).
"""

_TYPES = (int, float, str, bytes, bool)


def is_spec(spec):
    if not isinstance(spec, tuple) or not spec or spec[0] not in _TYPES:
        return False
    if spec[0] is bool:
        return len(spec) <= 2
    return 3 <= len(spec) <= 4 and spec[1] <= spec[2]


def has_default(spec):
    return len(spec) == (2 if spec[0] is bool else 4)


def check(name, spec, value):
    """Raises ValueError, one line for the person who sent the value, unless it is right."""
    kind = spec[0]
    if kind is bool:
        good = isinstance(value, bool)
    elif kind is int or kind is float:
        good = isinstance(value, (int, kind)) and not isinstance(value, bool)
        good = good and spec[1] <= value <= spec[2]
    else:
        good = isinstance(value, kind) and spec[1] <= len(value) <= spec[2]
    if not good:
        text = repr(value)
        raise ValueError("%s is %s; it must be %s" % (name, text[:40], expected(spec)))


def expected(spec):
    if spec[0] is bool:
        return "true or false"
    if spec[0] is int or spec[0] is float:
        kind = "a whole number" if spec[0] is int else "a number"
        return "%s from %s to %s" % (kind, spec[1], spec[2])
    kind = "a text of %d to %d characters" if spec[0] is str else "%d to %d bytes"
    return kind % (spec[1], spec[2])
