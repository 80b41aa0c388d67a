"""Whatever comes in, in a good signature or none: a value or a refusal with words, never a trace."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cbor2 import CBORTag
from hypothesis import given, settings
from hypothesis import strategies as st
from workshop import vectors

from tidegate.commands import cwt
from tidegate.errors import Refused
from tidegate.manifest import envelope, profile
from tidegate.trust import keys, store
from tidegate.wire import cbor, cose, messages, senml

RELEASE = keys.from_seed("release", bytes(range(32)))
COMMAND = keys.from_seed("command", bytes(range(1, 33)))
STORE = store.make([RELEASE, COMMAND])
FACTS = envelope.Manifest(
    7,
    "1.0.0",
    bytes(16),
    bytes(range(16)),
    envelope.Image(bytes(32), 1000),
    (envelope.Patch(bytes(range(32)), 900, bytes(range(1, 33)), 100),),
)

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


def signed(body: bytes) -> bytes:
    digest = profile.wrap_digest(hashlib.sha256(cbor.dumps(body)).digest())
    signature = cose.sign1(RELEASE.private or b"", digest, detached=True)
    return cbor.dumps(CBORTag(107, {2: cbor.dumps([digest, signature]), 3: body}))


BODY = cbor.loads(envelope.encode(FACTS))
ENVELOPE = cbor.loads(signed(envelope.encode(FACTS)), tags=frozenset({107}))


@given(mutated(BODY))
@settings(max_examples=1500, deadline=None)
def test_signed_manifests(value: Any) -> None:
    data = signed(cbor.dumps(value))
    try:
        found = envelope.verify(data, STORE)
    except Refused as refusal:
        assert refusal.reason and refusal.message
        return
    assert envelope.encode(found) == cbor.dumps(value)


@given(mutated(ENVELOPE))
@settings(max_examples=1500, deadline=None)
def test_envelopes(value: Any) -> None:
    data = cbor.dumps(value)
    try:
        found = envelope.verify(data, STORE)
    except Refused:
        return
    assert found == FACTS and data == cbor.dumps(ENVELOPE)


REQUEST = cwt.Command("gate-7", "info", {"a": [1, {"b": 2}]}, bytes(8), 1000, 2000, bytes(8))
CLAIMS = cbor.loads(cbor.loads(cwt.make(COMMAND, REQUEST), tags=frozenset({18})).value[2])


@given(mutated(CLAIMS))
@settings(max_examples=1500, deadline=None)
def test_signed_commands(value: Any) -> None:
    payload = cbor.dumps(value)
    try:
        found = cwt.verify(
            cose.sign1(COMMAND.private or b"", payload, headers={16: 61}), STORE, "gate-7", nonce=bytes(8)
        )
    except Refused as refusal:
        assert refusal.reason and refusal.message
        return
    assert cwt.make(COMMAND, found) == cose.sign1(COMMAND.private or b"", payload, headers={16: 61})


GOOD = [(case["kind"], bytes.fromhex(case["message"])) for case in vectors("messages.json") if "value" in case]


@pytest.mark.parametrize(("kind", "message"), GOOD, ids=[f"{kind} {n}" for n, (kind, _) in enumerate(GOOD)])
def test_messages(kind: str, message: bytes) -> None:
    @given(mutated(cbor.loads(message)))
    @settings(max_examples=200, deadline=None)
    def judge(value: Any) -> None:
        try:
            found = getattr(messages, kind)(cbor.dumps(value))
        except Refused as refusal:
            assert refusal.reason == "malformed"
            return
        assert isinstance(found, dict)

    judge()


@given(mutated(cbor.loads(bytes.fromhex(vectors("senml.json")[1]["pack"]))))
@settings(max_examples=1000, deadline=None)
def test_telemetry(value: Any) -> None:
    try:
        records = senml.decode(cbor.dumps(value), 1e9)
    except Refused:
        return
    assert all({"name", "time"} <= set(record) for record in records)


@given(mutated(cbor.loads(store.encode(STORE))))
@settings(max_examples=1000, deadline=None)
def test_trust_stores(value: Any) -> None:
    data = cbor.dumps(value)
    try:
        assert store.encode(store.decode(data)) == data
    except Refused:
        return
