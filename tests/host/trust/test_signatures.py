"""Keys, trust stores and COSE signatures; python `cwt`, which is not ours, is the second judge."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import cbor2
import cwt
import pytest
from click.testing import Result
from projects import vectors

from tidegate import commands, manifest
from tidegate.errors import Refused, TidegateError
from tidegate.trust import keys
from tidegate.trust import store as trust_store
from tidegate.wire import cbor, cose

KEY = keys.from_seed("release", bytes(range(32)))
COMMAND_KEY = keys.from_seed("command", bytes(range(1, 33)))
BODY = manifest.encode(manifest.Manifest(7, "1.0.0", bytes(16), bytes(16), manifest.Image(bytes(32), 1000)))

Cli = Callable[..., Result]


def foreign_key(key: keys.Key) -> cwt.COSEKeyInterface:
    raw = {1: 1, 3: -19, -1: 6, -2: key.public, 2: key.kid}
    return cwt.COSEKey.new(raw)


def test_cwt_accepts_our_manifest_signature() -> None:
    envelope = manifest.sign(BODY, [KEY])
    wrapper = cbor2.loads(cbor2.loads(envelope).value[2])
    digest = cbor2.dumps([-16, hashlib.sha256(cbor2.dumps(BODY)).digest()])
    assert wrapper[0] == digest
    protected, unprotected, _ = cwt.COSE.new().decode_with_headers(
        cbor2.loads(wrapper[1]), foreign_key(KEY), detached_payload=digest
    )
    assert (protected, unprotected) == ({1: -19}, {4: KEY.kid})


def test_cwt_refuses_what_we_refuse() -> None:
    signed = cose.sign1(KEY.private or b"", b"payload")
    message = cose.decode_sign1(signed, "message")
    assert cose.verify_sign1(message, KEY.public)
    assert not cose.verify_sign1(message, COMMAND_KEY.public)
    wrong = cbor2.loads(signed)
    wrong.value[2] = b"Payload"
    with pytest.raises(cwt.VerifyError):
        cwt.COSE.new().decode(wrong, foreign_key(KEY))
    assert not cose.verify_sign1(cose.decode_sign1(cbor.dumps(wrong), "message"), KEY.public)


def test_cwt_reads_our_command() -> None:
    now = 1_795_000_000
    request = commands.Command(
        "gate-7", "info", {"a": 1}, cti=bytes(7) + b"\1", issued=now, expires=now + 60, nonce=bytes(8)
    )
    message = commands.make(COMMAND_KEY, request)
    claims = cbor2.loads(cwt.COSE.new().decode(message, foreign_key(COMMAND_KEY)))
    assert claims == {3: "gate-7", 4: now + 60, 6: now, 7: bytes(7) + b"\1", 10: bytes(8), -65537: ["info", {"a": 1}]}


def test_we_read_what_cwt_signs() -> None:
    signer = cwt.COSEKey.new({1: 1, 3: -19, -1: 6, -2: KEY.public, -4: KEY.private, 2: KEY.kid})
    message = cwt.COSE.new().encode_and_sign(b"payload", signer, protected={1: -19}, unprotected={4: KEY.kid})
    found = cose.decode_sign1(message, "message")
    assert (found.payload, found.kid) == (b"payload", KEY.kid)
    assert cose.verify_sign1(found, KEY.public)


def test_key_id_is_the_thumbprint() -> None:
    """RFC 9679 section 3: SHA-256 of the COSE key's required members in deterministic encoding."""
    by_hand = bytes.fromhex("a3010120062158 20".replace(" ", "")) + KEY.public
    assert KEY.kid == hashlib.sha256(by_hand).digest()[:8]


@pytest.mark.parametrize("case", vectors("ed25519.json"), ids=lambda c: c["why"])
def test_ed25519_is_strict(case: dict[str, object]) -> None:
    """The same signatures the device judges: S below L, canonical encodings, no small order."""
    import nacl.exceptions
    import nacl.signing

    public, message, signature = (bytes.fromhex(str(case[part])) for part in ("key", "message", "signature"))
    try:
        nacl.signing.VerifyKey(public).verify(message, signature)
        good = True
    except (nacl.exceptions.CryptoError, ValueError, TypeError):
        good = False
    assert good == case["valid"]


def test_a_signature_is_for_its_role_only() -> None:
    store = trust_store.make([KEY, COMMAND_KEY])
    with pytest.raises(TidegateError, match="a release key is needed"):
        manifest.sign(BODY, [COMMAND_KEY])
    with pytest.raises(TidegateError, match="a public key, which cannot sign"):
        manifest.sign(BODY, [KEY.public_only()])
    with pytest.raises(Refused, match="has the role command, not release"):
        store.find(COMMAND_KEY.kid, "release")


def test_every_flipped_bit_of_an_envelope_is_refused() -> None:
    store = trust_store.make([KEY])
    envelope = manifest.sign(BODY, [KEY])
    assert manifest.verify(envelope, store).sequence == 7
    for bit in range(8 * len(envelope)):
        changed = bytearray(envelope)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Refused):
            manifest.verify(bytes(changed), store)
    for size in range(len(envelope)):
        with pytest.raises(Refused):
            manifest.verify(envelope[:size], store)


# ---------------------------------------------------------------- key files


def test_key_files(tmp_path: Path) -> None:
    key = keys.new("root")
    public_path = keys.save(key, tmp_path / "root.jwk")
    assert (tmp_path / "root.jwk").stat().st_mode & 0o777 == 0o600
    assert keys.load(tmp_path / "root.jwk") == key
    assert keys.load(public_path) == key.public_only()
    assert "d" not in json.loads(public_path.read_text())
    assert key.private is not None and key.private.hex() not in repr(key)


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    keys.save(KEY, tmp_path / "key")
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(TidegateError, match="never overwritten"):
        keys.save(COMMAND_KEY, tmp_path / "key")
    (tmp_path / "key").unlink()
    with pytest.raises(TidegateError, match=r"key\.pub exists"):
        keys.save(COMMAND_KEY, tmp_path / "key")
    assert not (tmp_path / "key").exists() and before


def test_a_private_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    keys.save(KEY, tmp_path / "key")
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(TidegateError, match="chmod 600"):
        keys.load(tmp_path / "key")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x": "AAAA"}, "3 bytes, not 32"),
        ({"x": 5}, "not base64url"),
        ({"d": "A" * 43}, "do not belong together"),
        ({"kid": "0011223344556677"}, "kid is not that of its key"),
        ({"tidegate_role": "boss"}, "role 'boss'"),
        ({"tidegate_role": None}, "role None"),
        ({"crv": "X25519"}, "not an Ed25519 key file"),
    ],
)
def test_damaged_key_files(tmp_path: Path, change: dict[str, object], says: str) -> None:
    keys.save(KEY, tmp_path / "key")
    value = {**json.loads((tmp_path / "key").read_text()), **change}
    (tmp_path / "key").write_text(json.dumps(value))
    with pytest.raises(TidegateError, match=says):
        keys.load(tmp_path / "key")


def test_trust_stores_hold_a_key_once() -> None:
    other_role = keys.from_seed("root", bytes(range(32)))
    with pytest.raises(TidegateError, match="given twice"):
        trust_store.make([KEY, other_role])
    with pytest.raises(TidegateError, match="1 to 8 keys"):
        trust_store.make([])


def test_on_the_command_line(cli: Cli, tmp_path: Path) -> None:
    made = cli("key", "new", "--role", "release", "--out", tmp_path / "r", "--json")
    assert made.exit_code == 0
    told = json.loads(made.stdout)
    assert told["role"] == "release" and "d" not in told
    private = json.loads((tmp_path / "r").read_text())["d"]
    for shown in (cli("key", "show", tmp_path / "r"), cli("key", "show", tmp_path / "r", "--json"), made):
        assert told["kid"] in shown.stdout
        assert private not in shown.stdout
    stored = cli("trust", "new", "--out", tmp_path / "t", tmp_path / "r.pub", "--version", "4")
    assert stored.exit_code == 0
    assert trust_store.load(tmp_path / "t").version == 4
    assert told["public"] in cli("trust", "show", tmp_path / "t").stdout
    refused = cli("key", "new", "--role", "release", "--out", tmp_path / "r")
    assert (refused.exit_code, "never overwritten" in refused.stderr) == (1, True)
    assert cli("key", "new", "--role", "boss", "--out", tmp_path / "b").exit_code == 2
