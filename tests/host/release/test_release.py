"""Releases from sources to signed folders, and every way in which one may be wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from patience import limit
from projects import ROOT, write_app

from tidegate import delta
from tidegate.release import load_release, sign_release, verify_release
from tidegate.trust import keys, store

Cli = Callable[..., Result]
BOARD = "qemu_mps2"


@pytest.fixture
def built(cli: Cli, project: Path, tmp_path: Path) -> Path:
    """A folder with releases 1 and 2 (with a patch from 1), built by the command line."""
    releases = tmp_path / "releases"
    build(cli, project, releases / "1", "1.0.0", 1)
    write_app(project, "two")
    build(cli, project, releases / "2", "1.1.0", 2, "--previous", releases / "1")
    return releases


def build(cli: Cli, project: Path, out: Path, version: str, sequence: int, *more: object) -> Result:
    result = cli(
        *("release", "build", "--source", project, "--board", BOARD, "--version", version),
        *("--sequence", sequence, "--out", out, *more),
    )
    assert result.exit_code == 0, result.stderr
    return result


def refused(result: Result, *says: str) -> None:
    assert result.exit_code == 1, result.stdout
    assert result.stderr.startswith("Error: ")
    for text in says:
        assert text in result.stderr


def test_from_sources_to_verified(cli: Cli, built: Path, key_folder: Path) -> None:
    second = built / "2"
    signed = cli("release", "sign", second, "--key", key_folder / "release.jwk")
    assert signed.exit_code == 0, signed.stderr
    checked = cli(
        "release", "verify", second, "--trust", key_folder / "trust.cbor", "--previous", built / "1", "--json"
    )
    assert checked.exit_code == 0, checked.stderr
    told = json.loads(checked.stdout)[BOARD]
    assert [patch["applied"] for patch in told["patches"]] == [True]
    assert told["patches"][0]["size"] < 300 < told["image"]["size"]
    assert told["manifest"]["signed_by"] == [keys.load(key_folder / "release.jwk").kid.hex()]
    unchecked = cli("release", "verify", second, "--trust", key_folder / "trust.cbor")
    assert unchecked.exit_code == 0 and "name its base with --previous" in unchecked.stdout


def test_the_patch_gives_the_image(built: Path) -> None:
    first, second = load_release(built / "1"), load_release(built / "2")
    patch = second.targets[BOARD].patches[0]
    old = first.payload(first.targets[BOARD].digest)
    assert delta.apply(old, second.payload(patch.digest)) == second.payload(second.targets[BOARD].digest)
    assert (patch.base_version, patch.base_sequence) == ("1.0.0", 1)


def test_reproducible(cli: Cli, built: Path, project: Path, tmp_path: Path) -> None:
    build(cli, project, tmp_path / "again", "1.1.0", 2, "--previous", built / "1")
    for path in sorted((built / "2").rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(built / "2")).read_bytes()


def test_several_boards_in_one_release(cli: Cli, project: Path, tmp_path: Path, key_folder: Path) -> None:
    other = project / "boards" / "m0_board"
    other.mkdir()
    (other / "board.toml").write_text(
        'name = "m0_board"\ntitle = "A smaller one"\nmcu = "Cortex-M0"\narch = "armv6m"\ntried = "no"\n'
        'status = "a stand-in"\n[slots]\nkind = "file"\n[flash]\nmachine = "M0"\n'
    )
    build(cli, project, tmp_path / "both", "1.0.0", 1, "--board", "m0_board")
    found = load_release(tmp_path / "both")
    assert set(found.targets) == {BOARD, "m0_board"}
    assert found.targets[BOARD].class_id != found.targets["m0_board"].class_id
    sign_release(found, [keys.load(key_folder / "release.jwk")])
    assert set(verify_release(found, store.load(key_folder / "trust.cbor"))) == {BOARD, "m0_board"}


# ---------------------------------------------------------------- building wrongly


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"--board": "nonesuch"}, "there is no board nonesuch"),
        ({"--version": "one two"}, "'one two' is not a valid version"),
        ({"--version": "1" * 33}, "version"),
        ({"--sequence": 0}, "sequence number 0"),
        ({"--sequence": 2**32}, "sequence number"),
        ({"--product": "My Product"}, "'My Product' is not a valid product name"),
        ({"--vendor": "acme"}, "'acme' is not a valid vendor"),
    ],
)
def test_wrong_names_and_numbers(
    cli: Cli, project: Path, tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    options = {"--source": project, "--board": BOARD, "--version": "1.0.0", "--sequence": 1, "--out": tmp_path / "out"}
    arguments = [part for pair in {**options, **changes}.items() for part in pair]
    refused(cli("release", "build", *arguments), says)
    assert not (tmp_path / "out").exists()


def test_a_failed_build_leaves_nothing(cli: Cli, project: Path, tmp_path: Path) -> None:
    (project / "firmware" / "app" / "broken.py").write_text("def f(:\n")
    out = tmp_path / "releases" / "1"
    result = cli(
        "release", "build", "--source", project, "--board", BOARD, "--version", "1", "--sequence", 1, "--out", out
    )
    refused(result, "broken.py does not compile", "SyntaxError")
    assert list((tmp_path / "releases").iterdir()) == []


def test_a_release_is_never_overwritten(cli: Cli, built: Path, project: Path) -> None:
    before = (built / "1" / "release.json").read_bytes()
    result = cli(
        *("release", "build", "--source", project, "--board", BOARD, "--version", "1", "--sequence", 1),
        *("--out", built / "1"),
    )
    refused(result, "exists and is never changed")
    assert (built / "1" / "release.json").read_bytes() == before


def test_sequence_must_rise(cli: Cli, built: Path, project: Path, tmp_path: Path) -> None:
    result = cli(
        *("release", "build", "--source", project, "--board", BOARD, "--version", "1.2.0", "--sequence", 2),
        *("--previous", built / "2", "--out", tmp_path / "3"),
    )
    refused(result, "Give --sequence 3 or more")


def test_ctrl_c_stops_cleanly(project: Path, tmp_path: Path) -> None:
    """Interrupted while it compiles: no folder, no temporary one, no trace printed."""
    many = project / "firmware" / "app"
    for number in range(400):
        (many / f"module_{number}.py").write_text("x = 1\n" * 50)
    code = "from tidegate.cli import main; main(prog_name='tidegate')"
    arguments = ["release", "build", "--source", project, "--board", BOARD, "--version", "1", "--sequence", "1"]
    arguments += ["--out", tmp_path / "out" / "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    deadline = time.monotonic() + limit(20)
    while not list((tmp_path / "out").glob(".1.*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=limit(20))
    assert process.returncode == 130
    assert "Traceback" not in errors and errors == "Interrupted\n"
    assert list((tmp_path / "out").iterdir()) == []


# ---------------------------------------------------------------- signing and verifying wrongly


def sign(cli: Cli, key_folder: Path, folder: Path, key: str = "release.jwk") -> Result:
    return cli("release", "sign", folder, "--key", key_folder / key)


def verify(cli: Cli, key_folder: Path, folder: Path, *more: object) -> Result:
    return cli("release", "verify", folder, "--trust", key_folder / "trust.cbor", *more)


def test_a_key_of_another_role_does_not_sign(cli: Cli, built: Path, key_folder: Path) -> None:
    refused(sign(cli, key_folder, built / "1", "command.jwk"), "has the role command, a release key is needed")
    refused(sign(cli, key_folder, built / "1", "release.jwk.pub"), "a public key, which cannot sign")
    assert not (built / "1" / f"{BOARD}.suit").exists()


def test_unsigned(cli: Cli, built: Path, key_folder: Path) -> None:
    refused(verify(cli, key_folder, built / "1"), "is not signed for qemu_mps2", "tidegate release sign")


def test_signed_by_a_stranger(cli: Cli, built: Path, key_folder: Path) -> None:
    assert sign(cli, key_folder, built / "1", "stranger.jwk").exit_code == 0
    refused(verify(cli, key_folder, built / "1"), "is not in the trust store", "Sign with one of its release keys")


def test_a_changed_payload(cli: Cli, built: Path, key_folder: Path) -> None:
    sign(cli, key_folder, built / "2")
    found = load_release(built / "2")
    for digest in found.targets[BOARD].payloads:
        path = built / "2" / "p" / digest
        good = path.read_bytes()
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        refused(verify(cli, key_folder, built / "2"), f"{digest} was changed")
        refused(sign(cli, key_folder, built / "2"), f"{digest} was changed")
        path.unlink()
        refused(verify(cli, key_folder, built / "2"), f"{digest} does not exist")
        path.write_bytes(good)
    assert verify(cli, key_folder, built / "2").exit_code == 0


def test_a_changed_manifest(cli: Cli, built: Path, key_folder: Path) -> None:
    sign(cli, key_folder, built / "1")
    path = built / "1" / f"{BOARD}.suit"
    good = path.read_bytes()
    path.write_bytes(good.replace(b"1.0.0", b"9.9.9"))
    refused(verify(cli, key_folder, built / "1"), "the manifest was changed")
    path.write_bytes(good[:-1])
    refused(verify(cli, key_folder, built / "1"), "the envelope has a string of")


def test_release_json_and_manifest_must_agree(cli: Cli, built: Path, key_folder: Path) -> None:
    sign(cli, key_folder, built / "1")
    index = built / "1" / "release.json"
    good = json.loads(index.read_text())
    for change in ({"version": "9.9.9"}, {"sequence": 9}, {"product": "other"}, {"vendor": "other.example"}):
        index.write_text(json.dumps({**good, **change}))
        refused(verify(cli, key_folder, built / "1"), "does not state what release.json does")


def test_an_image_that_says_it_is_another(cli: Cli, built: Path, key_folder: Path) -> None:
    """The image of 1.0.0 sold as 3.0.0: signed, every digest right, and still wrong."""
    index = built / "1" / "release.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "version": "3.0.0", "sequence": 3}))
    assert sign(cli, key_folder, built / "1").exit_code == 0
    refused(verify(cli, key_folder, built / "1"), "the image says it is", "1.0.0")


def test_a_patch_that_gives_another_image(cli: Cli, built: Path, key_folder: Path) -> None:
    first, second = load_release(built / "1"), load_release(built / "2")
    old, new = (r.payload(r.targets[BOARD].digest) for r in (first, second))
    wrong = delta.make(old, new[:-1] + b"?")
    index = json.loads((built / "2" / "release.json").read_text())
    import hashlib

    entry = index["targets"][BOARD]["patches"][0]
    entry["digest"], entry["size"] = hashlib.sha256(wrong).hexdigest(), len(wrong)
    (built / "2" / "p" / entry["digest"]).write_bytes(wrong)
    (built / "2" / "release.json").write_text(json.dumps(index))
    assert sign(cli, key_folder, built / "2").exit_code == 0
    refused(verify(cli, key_folder, built / "2", "--previous", built / "1"), "the patch makes another image")


def test_an_older_sequence(cli: Cli, built: Path, key_folder: Path) -> None:
    sign(cli, key_folder, built / "1")
    refused(verify(cli, key_folder, built / "1", "--previous", built / "2"), "--sequence 3 or more")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is damaged"),
        ("{}", "is damaged: KeyError 'format'"),
        ('{"format": 2}', "has format 2"),
        ('{"format": 1, "targets": {"../x": {}}}', "'../x' is not a valid board name"),
        (
            '{"format": 1, "product": "a", "vendor": "b.c", "version": "1", "sequence": 1, "targets": {}}',
            "has no board",
        ),
    ],
)
def test_a_damaged_release_json(cli: Cli, tmp_path: Path, key_folder: Path, text: str, says: str) -> None:
    (tmp_path / "release.json").write_text(text)
    refused(verify(cli, key_folder, tmp_path), says)


def test_not_a_release(cli: Cli, tmp_path: Path, key_folder: Path) -> None:
    refused(verify(cli, key_folder, tmp_path), "is not a release", "tidegate release build")
    refused(verify(cli, key_folder, tmp_path / "nowhere"), "is not a release")


# ---------------------------------------------------------------- looking into, and the script for CI


def test_inspect(cli: Cli, built: Path, key_folder: Path) -> None:
    sign(cli, key_folder, built / "2")
    second = load_release(built / "2")
    image, patch = second.targets[BOARD].payloads
    kinds = {
        built / "2": "release",
        built / "2" / "release.json": "release",
        built / "2" / f"{BOARD}.suit": "manifest",
        built / "2" / "p" / image: "image",
        built / "2" / "p" / patch: "patch",
        key_folder / "trust.cbor": "trust store",
    }
    for path, kind in kinds.items():
        result = cli("release", "inspect", path, "--json")
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["kind"] == kind
        assert kind in cli("release", "inspect", path).stdout
    refused(cli("release", "inspect", key_folder / "release.jwk"), "not one of Tidegate's files")
    refused(cli("release", "inspect", key_folder / "nothing"), "does not exist")


def test_sign_release_script(built: Path, key_folder: Path) -> None:
    script = ROOT / "tools" / "sign_release.py"
    command = [sys.executable, str(script), str(built / "1"), "--key", str(key_folder / "release.jwk"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[BOARD]["manifest"] == f"{BOARD}.suit"
    assert (built / "1" / f"{BOARD}.suit").exists()
    bare = subprocess.run([sys.executable, "-S", "-I", *command[1:]], capture_output=True, text=True)
    assert bare.returncode == 1 and "-m pip install 'cbor2>=5.7,<6' 'pynacl>=1.5,<2'" in bare.stderr


def test_rollback_is_the_old_image_under_a_newer_number(
    cli: Cli, built: Path, key_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    made = cli("release", "rollback", built / "1", "--sequence", 3, "--previous", built / "2", "--out", out)
    assert made.exit_code == 0, made.stderr
    assert "1.0.0 again, as sequence 3" in made.stdout
    old, again = load_release(built / "1"), load_release(out)
    assert (again.version, again.sequence, again.built_as) == ("1.0.0", 3, 1)
    assert again.targets[BOARD].digest == old.targets[BOARD].digest
    (patch,) = again.targets[BOARD].patches
    assert patch.base_version == "1.1.0"
    assert cli("release", "sign", out, "--key", key_folder / "release.jwk").exit_code == 0
    checked = cli("release", "verify", out, "--trust", key_folder / "trust.cbor", "--previous", built / "2")
    assert checked.exit_code == 0, checked.stderr
    assert "gives the image" in checked.stdout
    # Once more, of what was rolled back to: the image still says its first number.
    twice = cli("release", "rollback", out, "--sequence", 9, "--out", tmp_path / "twice")
    assert twice.exit_code == 0, twice.stderr
    assert load_release(tmp_path / "twice").built_as == 1


def test_rollback_needs_a_newer_number(cli: Cli, built: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    for number in (1, 2):
        done = cli("release", "rollback", built / "1", "--sequence", number, "--previous", built / "2", "--out", out)
        refused(done, "sequence number", "Give --sequence")
        assert not out.exists()


def test_an_image_may_not_be_of_a_later_number(cli: Cli, built: Path, key_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    cli("release", "rollback", built / "1", "--sequence", 3, "--out", out)
    index = json.loads((out / "release.json").read_text())
    for wrong in (2, 4, 0, "1", True):
        (out / "release.json").write_text(json.dumps({**index, "image_sequence": wrong}))
        cli("release", "sign", out, "--key", key_folder / "release.jwk")
        refused(cli("release", "verify", out, "--trust", key_folder / "trust.cbor"))
