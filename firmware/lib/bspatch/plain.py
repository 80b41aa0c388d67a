"""The range decoder of codec 1 (docs/patch-format.md) in plain Python: decodes a patch's bytes
into the steps that bspatch.adaptive carries out. Its twins bspatch.viper and _bspatch, the native
module, differ in speed only.

core is an array("i") of the places listed below, model an array("H") of states, data the input
buffer (bytearray), which holds NEED bytes or all that are left. Bytes past its end read as zero
and are counted in core[LEFT_OFF].
"""

try:
    from micropython import const
except ImportError:

    def const(value):
        return value


# Places in core: the range and the code; where in data the next byte is, and the end of the bytes
# there; zero bytes read past the end; bytes the new file lacks; and what `step` found.
RANGE = const(0)
CODE = const(1)
AT = const(2)
END = const(3)
LEFT_OFF = const(4)
LEFT = const(5)
RUN = const(6)
KIND = const(7)
VALUE = const(8)
LENGTH = const(9)
CORE = const(10)

# Kinds of steps. The last two are results: the file is complete (or the run too long), and a
# number is too large.
CHANGE = const(0)
LITERAL = const(1)
OLD_COPY = const(2)
NEW_COPY = const(3)
SEEK = const(4)
LAST = const(5)
BAD = const(6)

# Bytes of input that no step and no 13 literals outrun: a decision takes at most two.
NEED = const(208)
LITERAL_NEED = const(16)

_TOP = const(0x400000)  # the range is refilled when it is below
_MAX_CLASS = const(29)
_LATER = const(15)  # classes from here on share their states
_NUMBER = const(31)  # states of a number
_COUNT = const(155)
_OFFSET = const(186)
_DISTANCE = const(217)
_LENGTH = const(248)
_SEEK = const(279)
_KIND = const(310)
_CHANGES = const(329)
_LITERALS = const(584)
_MIN_COPY = const(3)
_SHIFTS = b"\x01\x02\x02\x03\x03\x03\x03\x04"  # how fast a state moves, by its use count
_STEADY = const(7)


def step(core, model, data):
    """Decodes one step: its run, kind and (but for literals' bytes) what the kind says."""
    before = core[KIND]
    run = _number(core, model, data, _NUMBER * before)
    core[RUN] = run
    if run < 0:
        core[KIND] = BAD
        return
    if run >= core[LEFT]:
        core[KIND] = LAST
        return
    kind = _ones(core, model, data, _KIND + 4 * before, SEEK)
    value = length = 0
    if kind == CHANGE:
        value = _bits(core, model, data, _CHANGES, 256) & 0xFF
    elif kind == LITERAL:
        value = _number(core, model, data, _COUNT)
    elif kind == SEEK:
        value = _number(core, model, data, _SEEK)
    else:
        value = _number(core, model, data, _OFFSET if kind == OLD_COPY else _DISTANCE)
        length = _number(core, model, data, _LENGTH)
    core[KIND] = BAD if value < 0 or length < 0 else kind
    core[VALUE] = value
    core[LENGTH] = length + _MIN_COPY


def literal(core, model, data, view):
    """Fills view with new bytes."""
    for i in range(len(view)):
        view[i] = _bits(core, model, data, _LITERALS, 256) & 0xFF


def _number(core, model, data, base):
    """A number, or -1 if it is too large."""
    size = _ones(core, model, data, base, _MAX_CLASS + 1)
    if size == 0:
        return 0
    if size > _MAX_CLASS:
        return -1
    value = _bits(core, model, data, base + _LATER - 1 + min(size, _LATER), 2)
    return _plain(core, data, value, size - 1) - 1


def _ones(core, model, data, base, limit):
    """How many decisions are 1 before one is 0, at most `limit`."""
    ones = 0
    while ones < limit and _decide(core, model, data, base + min(ones, _LATER)):
        ones += 1
    return ones


def _bits(core, model, data, tree, end):
    """Decisions down a tree of states; the node it ends with, from `end` on."""
    node = 1
    while node < end:
        node = node << 1 | _decide(core, model, data, tree + node)
    return node


def _decide(core, model, data, index):
    width = core[RANGE]
    code = core[CODE]
    if width < _TOP:
        width, code = _refill(core, data, width, code)
    state = model[index]
    chance = state >> 4
    count = state & 15
    bound = (width >> 12) * chance
    if code < bound:
        width = bound
        chance += (4096 - chance) >> _SHIFTS[count]
        bit = 0
    else:
        width -= bound
        code -= bound
        chance -= chance >> _SHIFTS[count]
        bit = 1
    core[RANGE] = width
    core[CODE] = code
    model[index] = chance << 4 | (count + 1 if count < _STEADY else count)
    return bit


def _plain(core, data, value, count):
    """value with `count` even chances after it."""
    width = core[RANGE]
    code = core[CODE]
    for _ in range(count):
        if width < _TOP:
            width, code = _refill(core, data, width, code)
        width >>= 1
        value <<= 1
        if code >= width:
            code -= width
            value |= 1
    core[RANGE] = width
    core[CODE] = code
    return value


def _refill(core, data, width, code):
    at = core[AT]
    while width < _TOP:
        width <<= 8
        code <<= 8
        if at < core[END]:
            code |= data[at]
            at += 1
        else:
            core[LEFT_OFF] += 1
    core[AT] = at
    return width, code
