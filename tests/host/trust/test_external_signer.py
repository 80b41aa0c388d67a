"""Signing by another program: what it may answer, what it must not, and that nothing unverified is written."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import programs
import pytest
from patience import limit
from projects import ROOT

from tidegate.errors import TidegateError
from tidegate.release import build_release, load_release, verify_release
from tidegate.sources import Sources
from tidegate.trust import external_signer, keys, rotation
from tidegate.trust import store as trust_store

BOARD = "unix"
SCRIPT = """
import base64, json, os, sys
import nacl.signing
jwk = json.load(open({key!r}))
seed = base64.urlsafe_b64decode(jwk["d"] + "=")
assert os.environ["TIDEGATE_KEY_ID"] == jwk["kid"]
message = sys.stdin.buffer.read()
signature = nacl.signing.SigningKey(seed).sign(message).signature
sys.stdout.buffer.write({answer})
"""
ANSWERS = {
    "raw": "signature",
    "hex": "signature.hex().encode()",
    "hex in capitals, with a line's end": "signature.hex().upper().encode() + b'\\n'",
    "base64": "base64.b64encode(signature)",
    "base64 in lines": "base64.encodebytes(signature)",
    "base64url without padding": "base64.urlsafe_b64encode(signature).rstrip(b'=')",
}
WRONG = {
    "nothing": ("b''", "0 bytes, which are not a signature"),
    "a byte short": ("signature[:-1]", "63 bytes, which are not a signature"),
    "a byte more": ("signature + b'x'", "65 bytes, which are not a signature"),
    "of another message": ("nacl.signing.SigningKey(seed).sign(message + b'x').signature", "not a signature by key"),
    "of its hash": (
        "nacl.signing.SigningKey(seed).sign(__import__('hashlib').sha512(message).digest()).signature",
        "not a signature by key",
    ),
    "by another key": ("nacl.signing.SigningKey.generate().sign(message).signature", "not a signature by key"),
    "zeros": ("bytes(64)", "not a signature by key"),
    "too much": ("b'A' * 100_000", "more than 1024 bytes"),
    "signature, then failure": ("(sys.stdout.buffer.write(signature), sys.exit(7))", "failed with exit code 7"),
    "the message back": ("message", "not a signature"),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "release"
    build_release(Sources.checkout(ROOT), folder, board_names=[BOARD], version="1.0.0", sequence=1)
    return folder


@pytest.fixture
def unsigned(tmp_path, built) -> Path:
    return shutil.copytree(built, tmp_path / "release")


def program(tmp_path: Path, key_file: Path, answer: str) -> str:
    script = tmp_path / "a signer.py"
    script.write_text(SCRIPT.format(key=str(key_file), answer=answer))
    return f"{sys.executable} '{script}'"


@pytest.mark.parametrize("how", ANSWERS)
def test_every_form_of_answer(how, tmp_path, key_folder):
    public = keys.load(key_folder / "release.jwk.pub")
    key = external_signer.external(public, program(tmp_path, key_folder / "release.jwk", ANSWERS[how]))
    by_file = keys.load(key_folder / "release.jwk").signer_for("release")
    message = b"\x00\xff any bytes \n" * 100
    assert key.signer_for("release").sign(message) == by_file.sign(message)  # Ed25519 is deterministic


@pytest.mark.parametrize("how", WRONG)
def test_wrong_answers_sign_nothing(how, cli, tmp_path, unsigned, key_folder):
    answer, says = WRONG[how]
    command = program(tmp_path, key_folder / "release.jwk", answer)
    public = key_folder / "release.jwk.pub"
    done = cli("release", "sign", unsigned, "--signer", command, "--public", public)
    assert done.exit_code == 1 and says in done.stderr, done.stderr
    assert not (unsigned / f"{BOARD}.suit").exists()


def test_the_same_bytes_as_with_the_key_file(cli, tmp_path, unsigned, key_folder):
    """Release, trust update and data by a program are what they are with the key file."""
    key, public = key_folder / "release.jwk", key_folder / "release.jwk.pub"
    by_program = ("--signer", program(tmp_path, key, "signature"), "--public", public)
    assert cli("release", "sign", unsigned, "--key", key).exit_code == 0
    wanted = (unsigned / f"{BOARD}.suit").read_bytes()
    (unsigned / f"{BOARD}.suit").unlink()
    done = cli("release", "sign", unsigned, *by_program)
    assert done.exit_code == 0, done.stderr
    assert (unsigned / f"{BOARD}.suit").read_bytes() == wanted
    assert cli("release", "verify", unsigned, "--trust", key_folder / "trust.cbor").exit_code == 0

    (tmp_path / "file").write_bytes(b"calibration")
    build = ("--version", "1", "--sequence", 1, "--board", BOARD, "--out", tmp_path / "data")
    made = cli("data", "build", "calibration", tmp_path / "file", *build)
    assert made.exit_code == 0, made.stderr
    assert cli("data", "sign", tmp_path / "data", *by_program).exit_code == 0
    assert (tmp_path / "data" / f"{BOARD}.suit").exists()

    root = keys.new("root")
    keys.save(root, key_folder / "root.jwk")
    store = trust_store.make([root, keys.load(public)])
    update = tmp_path / "next.update"
    update.write_bytes(rotation.propose(rotation.succeed(store, [keys.new("release")])))
    command = program(tmp_path, key_folder / "root.jwk", "signature")
    done = cli("trust", "sign", update, "--signer", command, "--public", key_folder / "root.jwk.pub")
    assert done.exit_code == 0, done.stderr
    assert rotation.verify(update.read_bytes(), store).version == 2


def test_a_program_and_a_file_together(cli, tmp_path, unsigned, key_folder):
    """While keys rotate: the old one in a token, the new one in a file."""
    command = program(tmp_path, key_folder / "release.jwk", "signature")
    public = key_folder / "release.jwk.pub"
    done = cli(
        "release", "sign", unsigned, "--signer", command, "--public", public, "--key", key_folder / "stranger.jwk"
    )
    assert done.exit_code == 0, done.stderr
    assert cli("release", "verify", unsigned, "--trust", key_folder / "trust.cbor").exit_code == 0


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("", "is empty"),
        ("'unclosed", "cannot be read"),
        ("no-such-program --flag SECRET", "the signer no-such-program cannot be run"),
        ("/", "cannot be run"),
        ("false", "failed with exit code 1"),
        ("true", "0 bytes, which are not a signature"),
        ("sh -c 'kill -9 $$'", "was ended by signal 9"),
        ("sh -c 'echo; cat'", "not a signature"),
        ("echo $(id) && true", "not a signature"),
    ],
)
def test_programs_that_do_not_sign(command, says, key_folder):
    public = keys.load(key_folder / "release.jwk.pub")
    with pytest.raises(TidegateError) as raised:
        external_signer.external(public, command).signer_for("release").sign(b"message")
    assert says in str(raised.value) and raised.value.remedy
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize("command", ["sleep 60", "sh -c 'sleep 60 & exit 0'", "sh -c 'exec >&-; sleep 60'"])
def test_programs_that_do_not_end(command, key_folder):
    public = keys.load(key_folder / "release.jwk.pub")
    began = time.monotonic()
    with pytest.raises(TidegateError, match="did not answer|does not end"):
        external_signer.external(public, command, timeout_s=0.5).signer_for("release").sign(b"message")
    assert time.monotonic() - began < 20


def test_roles_and_options(cli, tmp_path, unsigned, key_folder):
    command = program(tmp_path, key_folder / "command.jwk", "signature")
    wrong_role = cli("release", "sign", unsigned, "--signer", command, "--public", key_folder / "command.jwk.pub")
    assert wrong_role.exit_code == 1 and "has the role command" in wrong_role.stderr
    for options in (("--signer", command), ("--public", key_folder / "release.jwk.pub"), ()):
        usage = cli("release", "sign", unsigned, *options)
        assert usage.exit_code == 2 and "--public" in usage.stderr


def test_openssl_signs(tmp_path, unsigned, key_folder, cli):
    """The example of docs/signing.md: a key that was made by openssl and never was a key file of ours."""
    openssl = programs.require("openssl")
    pem = tmp_path / "release.pem"
    subprocess.run([openssl, "genpkey", "-algorithm", "ed25519", "-out", str(pem)], check=True)
    for form in ("DER", "PEM"):
        exported, public = tmp_path / f"public.{form}", tmp_path / f"{form}.pub"
        export = [openssl, "pkey", "-in", str(pem), "-pubout", "-outform", form, "-out", str(exported)]
        subprocess.run(export, check=True)
        imported = cli("key", "import", exported, "--role", "release", "--out", public)
        assert imported.exit_code == 0, imported.stderr
    assert keys.load(tmp_path / "DER.pub") == keys.load(tmp_path / "PEM.pub")
    for wrong in (b"", b"x" * 31, exported.read_bytes()[:40]):
        (tmp_path / "wrong").write_bytes(wrong)
        refused = cli("key", "import", tmp_path / "wrong", "--role", "release", "--out", tmp_path / "w.pub")
        assert refused.exit_code == 1 and "openssl pkey" in refused.stderr
    again = cli("key", "import", exported, "--role", "release", "--out", public)
    assert again.exit_code == 1 and "exists" in again.stderr
    command = f"openssl pkeyutl -sign -rawin -inkey {pem} -in /dev/stdin"
    done = cli("release", "sign", unsigned, "--signer", command, "--public", public)
    assert done.exit_code == 0, done.stderr
    store = tmp_path / "store.cbor"
    store.write_bytes(trust_store.encode(trust_store.make([keys.load(public)])))
    assert cli("release", "verify", unsigned, "--trust", store).exit_code == 0


# ---------------------------------------------------------------- tools/sign_release.py alone


def sign_release(*arguments: object, python: tuple[str, ...] = (sys.executable,)) -> subprocess.CompletedProcess[str]:
    command = [*python, str(ROOT / "tools" / "sign_release.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=limit(60))


def test_the_script_needs_two_packages_and_says_so(tmp_path, unsigned, key_folder):
    """A Python in which nothing is installed; then one that has just the two."""
    bare = sign_release(unsigned, "--key", key_folder / "release.jwk", python=(sys.executable, "-S", "-I"))
    assert bare.returncode == 1
    assert "cbor2>=5.7,<6, pynacl>=1.5,<2" in bare.stderr and "-m pip install" in bare.stderr
    site = tmp_path / "site"
    site.mkdir()
    for module in ("cbor2", "nacl", "_cbor2", "cffi", "_cffi_backend"):
        place = importlib.util.find_spec(module)
        if place is not None and place.origin:
            found = Path(place.origin)
            found = found.parent if found.name == "__init__.py" else found
            (site / found.name).symlink_to(found)
    alone = ("env", f"PYTHONPATH={site}", sys.executable, "-S")
    done = sign_release(unsigned, "--key", key_folder / "release.jwk", "--json", python=alone)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[BOARD]["manifest"] == f"{BOARD}.suit"
    manifest = (unsigned / f"{BOARD}.suit").read_bytes()
    command = program(tmp_path, key_folder / "release.jwk", "base64.b64encode(signature)")
    done = sign_release(unsigned, "--signer", command, "--public", key_folder / "release.jwk.pub", python=alone)
    assert done.returncode == 0, done.stderr
    assert (unsigned / f"{BOARD}.suit").read_bytes() == manifest
    store = trust_store.load(key_folder / "trust.cbor")
    assert verify_release(load_release(unsigned), store)[BOARD]["version"] == "1.0.0"


def test_the_scripts_mistakes_are_named(tmp_path, unsigned, key_folder):
    for arguments, code, says in (
        ((unsigned,), 2, "--key is missing"),
        ((unsigned, "--signer", "x"), 2, "needs its --public"),
        ((tmp_path / "nothing", "--key", key_folder / "release.jwk"), 1, "is not a release"),
        ((unsigned, "--key", key_folder / "command.jwk"), 1, "has the role command"),
        ((unsigned, "--key", tmp_path / "no.jwk"), 1, "does not exist"),
    ):
        done = sign_release(*arguments)
        assert (done.returncode, says in done.stderr) == (code, True), done.stderr
        assert "Traceback" not in done.stderr


def test_the_two_packages_are_the_projects(tmp_path):
    """The script, pyproject.toml and the page name the same."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    script = (ROOT / "tools" / "sign_release.py").read_text()
    page = (ROOT / "docs" / "signing.md").read_text()
    for name in ("cbor2", "pynacl"):
        (line,) = [line for line in wanted if line.startswith(name)]
        assert line in script and line in page
