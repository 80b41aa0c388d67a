"""Data releases: built, signed, read by decoders that are not ours, and refused when anything is changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import cbor2
import pytest
from click.testing import Result
from projects import vectors

from tidegate import manifest
from tidegate.errors import Refused, TidegateError
from tidegate.manifest import data_profile
from tidegate.release import data_release
from tidegate.trust import keys
from tidegate.trust import store as trust_store
from tidegate.wire import cbor

Cli = Callable[..., Result]
TABLE = b'{"gain": 1.0, "offset": 0.5}'


@pytest.fixture
def built(cli: Cli, key_folder: Path, tmp_path: Path) -> Path:
    """A signed data release of TABLE for two boards, made by the command line."""
    (tmp_path / "table.json").write_bytes(TABLE)
    out = tmp_path / "data"
    done = cli(
        *("data", "build", "calibration", tmp_path / "table.json", "--version", "2", "--sequence", 2),
        *("--board", "qemu_mps2", "--board", "unix", "--out", out),
    )
    assert done.exit_code == 0, done.stderr
    assert cli("data", "sign", out, "--key", key_folder / "release.jwk").exit_code == 0
    return out


def test_foreign_decoder_reads_it(built: Path) -> None:
    for board in ("qemu_mps2", "unix"):
        members = cbor2.loads(cbor2.loads((built / f"{board}.suit").read_bytes()).value[3])
        common = cbor2.loads(members[3])
        assert (members[2], common[2]) == (2, [[b"data", b"calibration"]])
        assert cbor2.loads(cbor2.loads(common[4])[3][3]) == [-16, hashlib.sha256(TABLE).digest()]
        assert cbor2.loads(members[20])[3] == {21: "p/" + hashlib.sha256(TABLE).hexdigest()}
        assert len((built / f"{board}.suit").read_bytes()) <= 400


def test_verifies_and_any_change_does_not(built: Path, key_folder: Path) -> None:
    store = trust_store.load(key_folder / "trust.cbor")
    release = data_release.load(built)
    data_release.verify(release, store)
    envelope = (built / "unix.suit").read_bytes()
    for at in range(0, len(envelope), 3):
        changed = bytearray(envelope)
        changed[at] ^= 2
        with pytest.raises(Refused):
            data_release.verify_envelope(bytes(changed), store)
    payload = built / "p" / release.digest
    payload.write_bytes(TABLE + b" ")
    with pytest.raises(TidegateError, match="was changed"):
        data_release.verify(release, store)


def test_a_manifest_of_another_kind_is_none_of_ours(built: Path) -> None:
    ours = manifest.open_envelope((built / "unix.suit").read_bytes()).manifest
    with pytest.raises(Refused):
        manifest.decode(ours)
    image = manifest.encode(manifest.Manifest(1, "1", bytes(16), bytes(16), manifest.Image(bytes(32), 1)))
    with pytest.raises(Refused):
        data_profile.decode(image)


@pytest.mark.parametrize(
    "change",
    [
        {2: 0},
        {2: True},
        {2: 2**32},
        {7: b"\x80"},
        {8: b"\x82\x03\x0f"},
        {20: b"\x80"},
        {23: b"\xa0"},
        {3: b"\xa0"},
    ],
)
def test_nothing_but_the_profile_is_read(built: Path, change: dict[int, object]) -> None:
    members = cbor.loads(manifest.open_envelope((built / "unix.suit").read_bytes()).manifest)
    with pytest.raises(Refused):
        data_profile.decode(cbor.dumps({**members, **change}))


def test_bytes_made_without_this_library() -> None:
    wire = vectors("wire.json")
    store = trust_store.decode(bytes.fromhex(next(entry for entry in wire if entry["kind"] == "setup")["trust"]))
    cases = {entry["name"]: bytes.fromhex(entry["data"]) for entry in wire if entry["kind"] == "data"}
    for name, envelope in cases.items():
        if name in ("data-next", "data-patch", "data-elsewhere", "data-nothing"):
            with pytest.raises(Refused):
                data_release.verify_envelope(envelope, store)
        else:
            found = data_release.verify_envelope(envelope, store)
            assert data_profile.encode(found) == manifest.open_envelope(envelope).manifest
    assert len(cases) >= 8


@pytest.mark.parametrize("name", ["", "Table", "../x", "a" * 25, "1st"])
def test_names(cli: Cli, tmp_path: Path, name: str) -> None:
    (tmp_path / "table.json").write_bytes(TABLE)
    done = cli(
        *("data", "build", name, tmp_path / "table.json", "--version", "2", "--sequence", 2),
        *("--board", "unix", "--out", tmp_path / "data"),
    )
    assert done.exit_code == 1 and "is not a valid name of a data component" in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_damaged_folder_is_said_to_be(built: Path) -> None:
    index = json.loads((built / "data.json").read_text())
    for wrong in ({"sequence": 0}, {"boards": ["../x"]}, {"boards": []}, {"digest": "zz"}, {"size": -1}, {"format": 2}):
        (built / "data.json").write_text(json.dumps({**index, **wrong}))
        with pytest.raises(TidegateError):
            data_release.load(built)


def test_only_release_keys_sign(built: Path, key_folder: Path) -> None:
    with pytest.raises(TidegateError):
        data_release.sign(data_release.load(built), [keys.load(key_folder / "command.jwk")])
