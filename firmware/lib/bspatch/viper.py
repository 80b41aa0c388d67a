# ruff: noqa: F821 - viper's types are the compiler's
"""The range decoder of bspatch.plain, compiled to machine code by MicroPython's viper emitter: for
cores whose firmware accepts such code but for which there is no native module _bspatch.
"""

import micropython
from micropython import const

# Places in core.
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

_CHANGE = const(0)
_LITERAL = const(1)
_OLD_COPY = const(2)
_SEEK = const(4)
_LAST = const(5)
_BAD = const(6)

_TOP = const(0x400000)
_MAX_CLASS = const(29)
_LATER = const(15)
_NUMBER = const(31)
_MIN_COPY = const(3)
_SHIFTS = const(0x3333221)  # four bits for each use count below _STEADY, from the lowest
_STEADY = const(7)
_STEADY_SHIFT = const(4)

# What _walk does, for each use: the first state, where it ends, and whether it counts ones.
_UNARY = const(1 << 24)
_CLASS = const(_UNARY | (_MAX_CLASS + 1) << 12)
_KINDS = const(_UNARY | _SEEK << 12 | 310)
_SECOND = const(2 << 12)
_CHANGES = const(256 << 12 | 329)
_LITERALS = const(256 << 12 | 584)
_COUNT = const(155)
_OFFSET = const(186)
_DISTANCE = const(217)
_COPIED = const(248)
_SEEK_BY = const(279)


@micropython.viper
def step(core_in, model, data):
    core = ptr32(core_in)
    before = core[_KIND]
    run = int(_number(core_in, model, data, _NUMBER * before))
    core[_RUN] = run
    if run < 0:
        core[_KIND] = _BAD
        return
    if run >= core[_LEFT]:
        core[_KIND] = _LAST
        return
    kind = int(_walk(core_in, model, data, _KINDS + 4 * before))
    value = 0
    length = 0
    if kind == _CHANGE:
        value = int(_walk(core_in, model, data, _CHANGES)) & 0xFF
    elif kind == _LITERAL:
        value = int(_number(core_in, model, data, _COUNT))
    elif kind == _SEEK:
        value = int(_number(core_in, model, data, _SEEK_BY))
    else:
        first = _OFFSET if kind == _OLD_COPY else _DISTANCE
        value = int(_number(core_in, model, data, first))
        length = int(_number(core_in, model, data, _COPIED))
    if value < 0 or length < 0:
        kind = _BAD
    core[_KIND] = kind
    core[_VALUE] = value
    core[_LENGTH] = length + _MIN_COPY


@micropython.viper
def literal(core, model, data, view):
    out = ptr8(view)
    size = int(len(view))
    i = 0
    while i < size:
        out[i] = int(_walk(core, model, data, _LITERALS))
        i += 1


@micropython.viper
def _number(core_in, model, data_in, base: int) -> int:
    size = int(_walk(core_in, model, data_in, _CLASS + base))
    if size == 0:
        return 0
    if size > _MAX_CLASS:
        return -1
    state = base + _LATER - 1 + (size if size < _LATER else _LATER)
    value = int(_walk(core_in, model, data_in, _SECOND + state))
    core = ptr32(core_in)
    data = ptr8(data_in)
    width = core[_RANGE]
    code = core[_CODE]
    while size > 1:
        while width < _TOP:
            width <<= 8
            code <<= 8
            at = core[_AT]
            if at < core[_END]:
                code |= data[at]
                core[_AT] = at + 1
            else:
                core[_LEFT_OFF] = core[_LEFT_OFF] + 1
        width >>= 1
        value <<= 1
        if code >= width:
            code -= width
            value |= 1
        size -= 1
    core[_RANGE] = width
    core[_CODE] = code
    return value - 1


@micropython.viper
def _walk(core_in, model_in, data_in, what: int) -> int:
    """bspatch.plain's _ones and _bits."""
    core = ptr32(core_in)
    model = ptr16(model_in)
    data = ptr8(data_in)
    base = what & 0xFFF
    end = what >> 12 & 0xFFF
    unary = what >> 24
    node = 1 - unary
    width = core[_RANGE]
    code = core[_CODE]
    while node < end:
        while width < _TOP:
            width <<= 8
            code <<= 8
            at = core[_AT]
            if at < core[_END]:
                code |= data[at]
                core[_AT] = at + 1
            else:
                core[_LEFT_OFF] = core[_LEFT_OFF] + 1
        index = base + node
        if unary and node > _LATER:
            index = base + _LATER
        state = model[index]
        chance = state >> 4
        count = state & 15
        shift = _STEADY_SHIFT
        if count < _STEADY:
            shift = _SHIFTS >> (count << 2) & 15
            state += 1
        bound = (width >> 12) * chance
        if code < bound:
            width = bound
            model[index] = state + (((4096 - chance) >> shift) << 4)
            if unary:
                break
            node <<= 1
        else:
            width -= bound
            code -= bound
            model[index] = state - ((chance >> shift) << 4)
            node = node + 1 if unary else node << 1 | 1
    core[_RANGE] = width
    core[_CODE] = code
    return node
