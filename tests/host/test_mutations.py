"""Whatever comes in, in a good signature or none: a value or a refusal with words, never a trace."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cbor2 import CBORTag
from hypothesis import given, settings
from hypothesis import strategies as st
from workshop import vectors

from tidegate import cborstrict, command, cose, keys, manifest, report, senml, suitprofile, trust
from tidegate.errors import Refused

RELEASE = keys.from_seed("release", bytes(range(32)))
COMMAND = keys.from_seed("command", bytes(range(1, 33)))
STORE = trust.make([RELEASE, COMMAND])
FACTS = manifest.Manifest(
    7,
    "1.0.0",
    bytes(16),
    bytes(range(16)),
    manifest.Image(bytes(32), 1000),
    (manifest.Patch(bytes(range(32)), 900, bytes(range(1, 33)), 100),),
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
            inner = cborstrict.loads(value, tags=frozenset({18, 107}))
        except Refused:
            pass
        else:
            return cborstrict.dumps(draw(mutated(inner)))
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
        changed, key = dict(value), draw(st.sampled_from(sorted(value, key=cborstrict.dumps)))
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
    digest = suitprofile.wrap_digest(hashlib.sha256(cborstrict.dumps(body)).digest())
    signature = cose.sign1(RELEASE.private or b"", digest, detached=True)
    return cborstrict.dumps(CBORTag(107, {2: cborstrict.dumps([digest, signature]), 3: body}))


BODY = cborstrict.loads(manifest.encode(FACTS))
ENVELOPE = cborstrict.loads(signed(manifest.encode(FACTS)), tags=frozenset({107}))


@given(mutated(BODY))
@settings(max_examples=1500, deadline=None)
def test_signed_manifests(value: Any) -> None:
    data = signed(cborstrict.dumps(value))
    try:
        found = manifest.verify(data, STORE)
    except Refused as refusal:
        assert refusal.reason and refusal.message
        return
    assert manifest.encode(found) == cborstrict.dumps(value)


@given(mutated(ENVELOPE))
@settings(max_examples=1500, deadline=None)
def test_envelopes(value: Any) -> None:
    data = cborstrict.dumps(value)
    try:
        found = manifest.verify(data, STORE)
    except Refused:
        return
    assert found == FACTS and data == cborstrict.dumps(ENVELOPE)


REQUEST = command.Command("gate-7", "info", {"a": [1, {"b": 2}]}, bytes(8), 1000, 2000, bytes(8))
CLAIMS = cborstrict.loads(cborstrict.loads(command.make(COMMAND, REQUEST), tags=frozenset({18})).value[2])


@given(mutated(CLAIMS))
@settings(max_examples=1500, deadline=None)
def test_signed_commands(value: Any) -> None:
    payload = cborstrict.dumps(value)
    try:
        found = command.verify(
            cose.sign1(COMMAND.private or b"", payload, headers={16: 61}), STORE, "gate-7", nonce=bytes(8)
        )
    except Refused as refusal:
        assert refusal.reason and refusal.message
        return
    assert command.make(COMMAND, found) == cose.sign1(COMMAND.private or b"", payload, headers={16: 61})


GOOD = [(case["kind"], bytes.fromhex(case["message"])) for case in vectors("messages.json") if "value" in case]


@pytest.mark.parametrize(("kind", "message"), GOOD, ids=[f"{kind} {n}" for n, (kind, _) in enumerate(GOOD)])
def test_messages(kind: str, message: bytes) -> None:
    @given(mutated(cborstrict.loads(message)))
    @settings(max_examples=200, deadline=None)
    def judge(value: Any) -> None:
        try:
            found = getattr(report, kind)(cborstrict.dumps(value))
        except Refused as refusal:
            assert refusal.reason == "malformed"
            return
        assert isinstance(found, dict)

    judge()


@given(mutated(cborstrict.loads(bytes.fromhex(vectors("senml.json")[1]["pack"]))))
@settings(max_examples=1000, deadline=None)
def test_telemetry(value: Any) -> None:
    try:
        records = senml.decode(cborstrict.dumps(value), 1e9)
    except Refused:
        return
    assert all({"name", "time"} <= set(record) for record in records)


@given(mutated(cborstrict.loads(trust.encode(STORE))))
@settings(max_examples=1000, deadline=None)
def test_trust_stores(value: Any) -> None:
    data = cborstrict.dumps(value)
    try:
        assert trust.encode(trust.decode(data)) == data
    except Refused:
        return
