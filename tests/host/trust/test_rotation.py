"""Rotations of the trust store and quorums, as data (tests/vectors/rotations.py); the device's tests read the same."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cwt
import pytest
from cwt import COSE, COSEKey
from hypothesis import given, settings
from hypothesis import strategies as st
from mutated import mutated
from projects import vectors

from tidegate import commands, manifest
from tidegate.errors import Refused, TidegateError
from tidegate.trust import keys, rotation
from tidegate.trust import store as trust_store
from tidegate.wire import cbor, cose

CASES = vectors("rotations.json")
QUORUMS = vectors("quorums.json")
ROOT = keys.from_seed("root", bytes(range(32)))
RELEASE = keys.from_seed("release", bytes(range(1, 33)))


def name(case: dict[str, Any]) -> str:
    return case["name"]


def store(data: str) -> trust_store.TrustStore:
    return trust_store.decode(bytes.fromhex(data))


@pytest.mark.parametrize("case", CASES, ids=name)
def test_rotation(case: dict[str, Any]) -> None:
    now = store(case["store"])
    for step in case["updates"]:
        update = bytes.fromhex(step["update"])
        if step["verdict"] == "accept":
            now = rotation.verify(update, now)
            continue
        with pytest.raises(Refused) as refusal:
            rotation.verify(update, now)
        assert refusal.value.reason == step["verdict"]
        assert refusal.value.message
    assert now.version == case["end"]


def test_the_cases_are_many_and_of_every_kind() -> None:
    """A vector file that lost its cases would still pass case by case."""
    found = Counter(step["verdict"] for case in CASES for step in case["updates"])
    wanted = {"accept", "unknown-key", "threshold", "signature", "version", "revoked", "malformed", "typ"}
    assert set(found) == wanted
    assert found["accept"] >= 15 and sum(found.values()) >= 60


@pytest.mark.parametrize("case", QUORUMS, ids=lambda c: f"{c['kind']}: {c['name']}")
def test_quorum(case: dict[str, Any]) -> None:
    data, at = bytes.fromhex(case["message"]), store(case["store"])

    def judge() -> Any:
        if case["kind"] == "manifest":
            return manifest.verify(data, at)
        return commands.verify(data, at, "gate-7", nonce=bytes.fromhex("6e6f6e6365212121"))

    if case["verdict"] == "accept":
        assert judge()
        return
    with pytest.raises(Refused) as refusal:
        judge()
    assert refusal.value.reason == case["verdict"]


# ---------------------------------------------------------------- damage


def test_no_flipped_bit_passes() -> None:
    """Every single bit of an update, to one with thresholds and revoked keys."""
    second = keys.from_seed("root", bytes(32))
    old = trust_store.make([ROOT, second, RELEASE], 1, {"root": 2})
    new = rotation.succeed(old, [keys.new("release")], [RELEASE.kid])
    update = rotation.sign(rotation.propose(new), [ROOT, second])
    assert rotation.verify(update, old).version == 2
    for bit in range(8 * len(update)):
        damaged = bytearray(update)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Refused):
            rotation.verify(bytes(damaged), old)


OLD = trust_store.make([ROOT, RELEASE])
VALUE = cbor.loads(trust_store.encode(rotation.succeed(OLD)))


@given(st.data())
@settings(max_examples=1000, deadline=None)
def test_a_signed_store_that_is_wrong(data: st.DataObject) -> None:
    """The root key signs whatever comes; only a right store is taken."""
    value = data.draw(mutated(VALUE))
    payload = cbor.dumps(value)
    update = cose.sign([ROOT.private or b""], payload, {16: rotation.TYP})
    try:
        new = rotation.verify(update, OLD)
    except Refused as refusal:
        assert refusal.reason and refusal.message
        return
    assert trust_store.encode(new) == payload and new.version == 2
    assert set(OLD.revoked) <= set(new.revoked)


# ---------------------------------------------------------------- another judge


def test_python_cwt_verifies_what_we_sign() -> None:
    """COSE_Sign with two signers; python `cwt` is not ours."""
    second = keys.from_seed("root", bytes(32))
    old = trust_store.make([ROOT, second, RELEASE], 1, {"root": 2})
    update = rotation.sign(rotation.propose(rotation.succeed(old)), [ROOT, second])
    for key in (ROOT, second):
        public = COSEKey.new({1: 1, -1: 6, -2: key.public, 2: key.kid, 3: -19})
        payload = COSE.new().decode(update, public)
        assert trust_store.decode(payload if isinstance(payload, bytes) else cbor.dumps(payload)).version == 2
    stranger = COSEKey.new({1: 1, -1: 6, -2: RELEASE.public, 2: ROOT.kid, 3: -19})
    with pytest.raises(cwt.VerifyError):
        COSE.new().decode(update, stranger)


# ---------------------------------------------------------------- making them


def test_what_cannot_be_proposed() -> None:
    for wrong, words in (
        (lambda: rotation.succeed(OLD, remove=[bytes(8)]), "is not in the trust store"),
        (lambda: rotation.succeed(OLD, remove=[ROOT.kid]), "no root key"),
        (lambda: rotation.succeed(OLD, remove=[RELEASE.kid]), "no release key"),
        (lambda: rotation.succeed(OLD, [ROOT]), "is given twice"),
        (lambda: rotation.succeed(OLD, thresholds={"release": 2}), "threshold of release is 2"),
        (lambda: rotation.succeed(dataclasses.replace(OLD, version=2**32 - 1)), "version is 1 to"),
    ):
        with pytest.raises(TidegateError, match=words):
            wrong()
    dropped = rotation.succeed(OLD, [keys.new("release")], [RELEASE.kid])
    assert dropped.revoked == (RELEASE.kid,)
    with pytest.raises(TidegateError, match="was revoked, for good"):
        rotation.succeed(dropped, [RELEASE])


def test_what_is_too_large_is_not_looked_into() -> None:
    update = rotation.sign(rotation.propose(rotation.succeed(OLD)), [ROOT])
    with pytest.raises(Refused) as refusal:
        rotation.verify(update + bytes(2048), OLD)
    assert refusal.value.reason == "too-large"


def test_signed_in_turn() -> None:
    second = keys.from_seed("root", bytes(32))
    old = trust_store.make([ROOT, second, RELEASE], 1, {"root": 2})
    update = rotation.propose(rotation.succeed(old))
    assert rotation.missing(update, old) == {"old": 2, "new": 2}
    update = rotation.sign(update, [ROOT])
    assert rotation.missing(update, old) == {"old": 1, "new": 1}
    with pytest.raises(Refused) as refusal:
        rotation.verify(update, old)
    assert refusal.value.reason == "threshold"
    with pytest.raises(TidegateError, match="has signed already"):
        rotation.sign(update, [ROOT])
    with pytest.raises(TidegateError, match="a root key is needed"):
        rotation.sign(update, [RELEASE])
    update = rotation.sign(update, [second])
    assert rotation.missing(update, old) == {"old": 0, "new": 0}
    assert rotation.verify(update, old).version == 2


# ---------------------------------------------------------------- the command line


@pytest.fixture
def ring(cli: Callable[..., Any], tmp_path: Path) -> Path:
    """root-1, root-2, release, new-release and command keys, and a store that wants both roots."""
    for role, file in (
        ("root", "root-1"), ("root", "root-2"), ("release", "release"), ("release", "new-release"), ("command", "cmd"),
    ):  # fmt: skip
        assert cli("key", "new", "--role", role, "--out", tmp_path / f"{file}.jwk").exit_code == 0
    made = [tmp_path / f"{file}.jwk.pub" for file in ("root-1", "root-2", "release", "cmd")]
    done = cli("trust", "new", "--threshold", "root=2", "--out", tmp_path / "trust.cbor", *made)
    assert done.exit_code == 0, done.output
    return tmp_path


def test_the_way_of_a_rotation(cli: Callable[..., Any], ring: Path) -> None:
    update, old = ring / "2.update", ring / "trust.cbor"
    done = cli("trust", "rotate", old, "--add", ring / "new-release.jwk.pub", "--remove", ring / "release.jwk.pub",
               "--out", update)  # fmt: skip
    assert done.exit_code == 0 and "2 more" in done.stdout, done.output
    assert cli("trust", "sign", update, "--key", ring / "root-1.jwk").exit_code == 0
    early = cli("trust", "verify", update, "--old", old)
    assert early.exit_code == 1 and "1 of 2 root signatures" in early.stderr
    assert cli("trust", "sign", update, "--key", ring / "root-2.jwk").exit_code == 0
    done = cli("trust", "verify", update, "--old", old, "--out", ring / "trust-2.cbor")
    assert done.exit_code == 0, done.output
    new = trust_store.load(ring / "trust-2.cbor")
    assert new.version == 2 and new.threshold("root") == 2
    assert new.revoked == (keys.load(ring / "release.jwk").kid,)
    assert [key.kid for key in new.role("release")] == [keys.load(ring / "new-release.jwk").kid]
    shown = cli("trust", "show", update)
    assert shown.exit_code == 0 and "trust update" in shown.stdout
    again = cli("trust", "rotate", ring / "trust-2.cbor", "--add", ring / "release.jwk.pub", "--out", ring / "3.update")
    assert again.exit_code == 1 and "was revoked, for good" in again.stderr
    assert not (ring / "3.update").exists()


def test_what_the_commands_refuse(cli: Callable[..., Any], ring: Path) -> None:
    old, update = ring / "trust.cbor", ring / "2.update"

    def refused(*words: Any, expect: str, code: int = 1) -> None:
        done = cli(*words)
        assert done.exit_code == code and expect in done.stderr, (words, done.output, done.stderr)

    refused("trust", "new", "--out", ring / "release.jwk.pub", ring / "release.jwk", expect="exists")
    refused("trust", "new", "--threshold", "release=2", "--out", ring / "x", ring / "release.jwk", expect="threshold")
    refused("trust", "new", "--threshold", "king=1", "--out", ring / "x", ring / "release.jwk", expect="king", code=2)
    refused("trust", "new", "--threshold", "root", "--out", ring / "x", ring / "release.jwk", expect="root", code=2)
    refused("trust", "rotate", old, "--remove", "nobody", "--out", update, expect="nobody")
    refused("trust", "rotate", old, "--out", update, expect="Nothing would change", code=2)
    refused("trust", "rotate", ring / "root-1.jwk.pub", "--threshold", "root=1", "--out", update, expect="trust store")
    refused("trust", "sign", old, "--key", ring / "root-1.jwk", expect="trust update")
    refused("trust", "verify", old, "--old", old, expect="trust update")
    assert cli("trust", "rotate", old, "--threshold", "root=1", "--out", update).exit_code == 0
    refused("trust", "sign", update, "--key", ring / "release.jwk", expect="a root key is needed")
    refused("trust", "sign", update, "--key", ring / "root-1.jwk.pub", expect="cannot sign")
    refused("trust", "rotate", old, "--threshold", "root=1", "--out", update, expect="exists")
