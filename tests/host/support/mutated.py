"""A strategy for hypothesis: CBOR values with one place changed."""

from __future__ import annotations

from typing import Any

from cbor2 import CBORTag
from hypothesis import strategies as st

from tidegate.errors import Refused
from tidegate.wire import cbor

SCALARS = (
    st.sampled_from([None, True, False, 0, 1, 15, -1, 2**32, 2**64 - 1, "", "p/", b"", [], {}, [[]], {"": 0}])
    | st.sampled_from([0.5, 1.0, 15.0, -16.0, -19.0, 61.0])  # equal in Python to numbers of the profile
    | st.binary(max_size=33)
    | st.integers(-30, 30)
)


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """`value` with one place in it replaced, removed or doubled; byte strings that hold CBOR are opened."""
    if isinstance(value, bytes) and len(value) > 1 and draw(st.booleans()):
        try:
            inner = cbor.loads(value, tags=frozenset({18, 107}))
        except Refused:
            pass
        else:
            return cbor.dumps(draw(mutated(inner)))
    if isinstance(value, CBORTag) and draw(st.integers(0, 9)):
        return CBORTag(value.tag, draw(mutated(value.value)))
    if isinstance(value, list) and value and draw(st.integers(0, 9)):
        out, at = list(value), draw(st.integers(0, len(value) - 1))
        change = draw(st.integers(0, 7))
        if change == 0:
            del out[at]
        elif change == 1:
            out.insert(at, draw(SCALARS))
        else:
            out[at] = draw(mutated(out[at]))
        return out
    if isinstance(value, dict) and value and draw(st.integers(0, 9)):
        changed, key = dict(value), draw(st.sampled_from(sorted(value, key=cbor.dumps)))
        change = draw(st.integers(0, 7))
        if change == 0:
            del changed[key]
        elif change == 1:
            changed[draw(st.integers(-300, 300) | st.text(max_size=3) | st.binary(max_size=3))] = draw(SCALARS)
        else:
            changed[key] = draw(mutated(changed[key]))
        return changed
    return draw(SCALARS)
