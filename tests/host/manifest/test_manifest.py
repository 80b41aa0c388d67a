"""What a manifest costs, and that decoders which are not ours (cbor2, python cwt) find in it what we put there."""

from __future__ import annotations

import hashlib
from typing import Any

import cbor2
import cwt
import pytest

from tidegate import manifest
from tidegate.trust import keys

KEY = keys.from_seed("release", bytes(range(32)))
IMAGE = manifest.Image(hashlib.sha256(b"new").digest(), 70_000)
BUDGET = 700  # bytes, signed, with three patch branches


def patch(number: int) -> manifest.Patch:
    base, data = (hashlib.sha256(f"{what} {number}".encode()).digest() for what in ("base", "patch"))
    return manifest.Patch(base, 66_000 + number, data, 12_000 + number)


def signed(patches: int, version: str = "10.20.30", *, sequence: int = 70_000) -> bytes:
    vendor = manifest.vendor_id("tidegate.example")
    klass = manifest.class_id(vendor, "tidegate-gateway", "qemu_mps2")
    made = tuple(patch(number) for number in range(patches))
    return manifest.sign(manifest.encode(manifest.Manifest(sequence, version, vendor, klass, IMAGE, made)), [KEY])


def test_three_patches_are_within_the_budget() -> None:
    """Also with images above 64 KiB, five-figure patches and a long version."""
    assert len(signed(3)) <= BUDGET


def test_eight_patches_and_two_signatures_fit_a_device() -> None:
    vendor = manifest.vendor_id("tidegate.example")
    made = tuple(patch(number) for number in range(manifest.MAX_PATCHES))
    largest = manifest.Manifest(2**32 - 1, "v" * manifest.MAX_VERSION, vendor, bytes(16), IMAGE, made)
    other = keys.from_seed("release", bytes(32))
    assert len(manifest.sign(manifest.encode(largest), [KEY, other])) <= manifest.MAX_SIZE


@pytest.mark.parametrize("patches", [0, 1, 3])
def test_foreign_decoders_read_it(patches: int) -> None:
    """cbor2 opens every layer, cwt checks the signature: nothing of ours between the bytes and the facts."""
    envelope = cbor2.loads(signed(patches))
    assert envelope.tag == 107
    wrapper = cbor2.loads(envelope.value[2])
    algorithm, digest = cbor2.loads(wrapper[0])
    assert (algorithm, digest) == (-16, hashlib.sha256(cbor2.dumps(envelope.value[3])).digest())
    public = cwt.COSEKey.new({1: 1, 3: -19, -1: 6, -2: KEY.public, 2: KEY.kid})
    cwt.COSE.new().decode(cbor2.loads(wrapper[1]), public, detached_payload=wrapper[0])
    members = cbor2.loads(envelope.value[3])
    assert (members[1], members[2]) == (1, 70_000)
    assert cbor2.loads(members[23]) == {"en": {(b"next",): {6: "10.20.30"}}}
    assert runs(members) == [(patch(number).digest, patch(number).size) for number in range(patches)]


def runs(members: dict[int, Any]) -> list[tuple[bytes, int]]:
    """The patches (SHA-256, size) in the install section, read from the draft and docs/wire.cddl alone."""
    common = cbor2.loads(members[3])
    assert common[2] == [[b"next"], [b"run"]]
    shared = cbor2.loads(common[4])
    assert shared[3][21] == "p/"
    assert cbor2.loads(shared[3][3]) == [-16, IMAGE.digest] and shared[3][14] == IMAGE.size
    install = cbor2.loads(members[20])
    assert install[-4:] == [21, 15, 3, 15]
    if install[0] != 15:
        assert install[3] == {21: "p/" + IMAGE.digest.hex()}
        return []
    *patches, image = map(cbor2.loads, install[1])
    assert image[3] == {21: "p/" + IMAGE.digest.hex()}
    found = []
    for number, branch in enumerate(patches):
        commands = list(zip(branch[::2], branch[1::2], strict=True))
        assert [command for command, _ in commands] == [12, 20, 3, 12, 20]
        assert [commands[0][1], commands[3][1]] == [1, 0]
        assert cbor2.loads(commands[1][1][3]) == [-16, patch(number).base_digest]
        assert set(commands[4][1]) == {25}
        arguments = cbor2.loads(commands[4][1][25])
        assert (arguments[1], arguments[2]) == (1, 1)
        found.append((arguments[4], arguments[3]))
    return found
