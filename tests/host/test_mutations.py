"""Whatever comes in, in a good signature or none: a value or a refusal with words, never a trace."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cbor2 import CBORTag
from hypothesis import given, settings
from mutated import mutated
from projects import vectors

from tidegate import manifest
from tidegate.commands import cwt
from tidegate.errors import Refused
from tidegate.manifest import profile
from tidegate.trust import keys, store
from tidegate.wire import cbor, cose, messages, senml

RELEASE = keys.from_seed("release", bytes(range(32)))
COMMAND = keys.from_seed("command", bytes(range(1, 33)))
STORE = store.make([RELEASE, COMMAND])
FACTS = manifest.Manifest(
    7,
    "1.0.0",
    bytes(16),
    bytes(range(16)),
    manifest.Image(bytes(32), 1000),
    (manifest.Patch(bytes(range(32)), 900, bytes(range(1, 33)), 100),),
)


def signed(body: bytes) -> bytes:
    digest = profile.wrap_digest(hashlib.sha256(cbor.dumps(body)).digest())
    signature = cose.sign1(RELEASE.private or b"", digest, detached=True)
    return cbor.dumps(CBORTag(107, {2: cbor.dumps([digest, signature]), 3: body}))


BODY = cbor.loads(manifest.encode(FACTS))
ENVELOPE = cbor.loads(signed(manifest.encode(FACTS)), tags=frozenset({107}))


@given(mutated(BODY))
@settings(max_examples=1500, deadline=None)
def test_signed_manifests(value: Any) -> None:
    data = signed(cbor.dumps(value))
    try:
        found = manifest.verify(data, STORE)
    except Refused as refusal:
        assert refusal.reason and refusal.message
        return
    assert manifest.encode(found) == cbor.dumps(value)


@given(mutated(ENVELOPE))
@settings(max_examples=1500, deadline=None)
def test_envelopes(value: Any) -> None:
    data = cbor.dumps(value)
    try:
        found = manifest.verify(data, STORE)
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
