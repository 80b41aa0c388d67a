"""Signing with a key in a PKCS#11 token, by SoftHSM and OpenSC's pkcs11-tool, as docs/signing.md says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import programs
import pytest
from patience import limit

from tidegate.release import data_release
from tidegate.trust import external_signer, keys
from tidegate.trust import store as trust_store
from tidegate.wire import cose

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")
MODULE = next((path for path in MODULES if Path(path).exists()), None)
HERE = MODULE and programs.find("softhsm2-util") and programs.find("pkcs11-tool")
PIN = "4711"


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The words that reach a token with an Ed25519 key; its PIN is in the environment."""
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    monkeypatch.setenv("TOKEN_PIN", PIN)
    words = ["--init-token", "--free", "--label", "gates", "--pin", PIN, "--so-pin", "1234"]
    done = subprocess.run([programs.require("softhsm2-util"), *words], capture_output=True, timeout=limit(60))
    assert done.returncode == 0, done.stderr
    words = f"--module {MODULE} --token-label gates"
    pkcs11(f"{words} --login --pin env:TOKEN_PIN --keypairgen --key-type EC:edwards25519 --label release --id 01")
    return words


def pkcs11(words: str) -> None:
    command = [programs.require("pkcs11-tool"), *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit(60))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not HERE, reason="SoftHSM or OpenSC is missing: Debian's packages softhsm2 and opensc")
def test_a_key_in_a_token_signs(token: str, cli, tmp_path: Path) -> None:
    public = tmp_path / "public"
    pkcs11(f"{token} --read-object --type pubkey --id 01 --output-file {public}")
    if not public.read_bytes().startswith(b"-----"):  # newer ones write DER
        words = ["pkey", "-pubin", "-inform", "DER", "-in", str(public), "-pubout", "-out", str(public)]
        assert subprocess.run([programs.require("openssl"), *words], timeout=limit(60)).returncode == 0
    taken = tmp_path / "release.jwk.pub"
    done = cli("key", "import", public, "--role", "release", "--out", taken)
    assert done.exit_code == 0, done.stderr
    key = keys.load(taken)
    sign = f"pkcs11-tool {token} --login --pin env:TOKEN_PIN --sign --mechanism EDDSA --id 01"
    signer = external_signer.external(key, sign).signer_for("release")
    message = bytes(range(256)) * 3
    signature = signer.sign(message)
    assert cose.Signature(key.kid, message, signature).by(key.public)
    assert not cose.Signature(key.kid, message + b"x", signature).by(key.public)

    (tmp_path / "file").write_bytes(b"a table")
    build = ("--version", "1", "--sequence", 1, "--board", "unix", "--out", tmp_path / "data")
    assert cli("data", "build", "calibration", tmp_path / "file", *build).exit_code == 0
    wrong = sign.replace("env:TOKEN_PIN", "0000")
    done = cli("data", "sign", tmp_path / "data", "--signer", wrong, "--public", taken)
    assert done.exit_code == 1 and "failed with exit code" in done.stderr
    done = cli("data", "sign", tmp_path / "data", "--signer", sign, "--public", taken)
    assert done.exit_code == 0, done.stderr
    envelope = (tmp_path / "data" / "unix.suit").read_bytes()
    assert data_release.verify_envelope(envelope, trust_store.make([key])).name == "calibration"
