"""The manifest of a data component: one file beside the image, updated alone (docs/wire.cddl, data-manifest)."""

from __future__ import annotations

from dataclasses import dataclass

from tidegate import names
from tidegate.errors import Refused, TidegateError
from tidegate.manifest.profile import MAX_PAYLOAD, MAX_SEQUENCE, MAX_SIZE, MAX_VERSION, POLICY, address, wrap_digest
from tidegate.wire import cbor

MAX_FILE = 1024 * 1024  # bytes; what a file system of a small board may spare
_DATA = b"data"


@dataclass(frozen=True)
class DataManifest:
    """What such a manifest says; digest: SHA-256 of the content, size: its bytes."""

    name: str
    sequence: int
    version: str
    vendor_id: bytes
    class_id: bytes
    digest: bytes
    size: int


def encode(manifest: DataManifest) -> bytes:
    """The manifest's own bytes (unsigned, without the byte-string head)."""
    _check(manifest)
    wrap = cbor.dumps
    component = [_DATA, manifest.name.encode()]
    identity = {1: manifest.vendor_id, 2: manifest.class_id, 3: wrap_digest(manifest.digest), 14: manifest.size}
    shared = [12, 0, 20, identity, 1, POLICY, 2, POLICY]
    install = [12, 0, 20, {21: address(manifest.digest)}, 21, POLICY, 3, POLICY]
    return wrap(
        {
            1: 1,
            2: manifest.sequence,
            3: wrap({2: [component], 4: wrap(shared)}),
            7: wrap([3, POLICY]),
            20: wrap(install),
            23: wrap({"en": {tuple(component): {6: manifest.version}}}),
        }
    )


def decode(data: bytes) -> DataManifest:
    """The facts in the manifest bytes `data`; Refused("malformed") when it leaves the profile."""

    def opened(value: object, what: str) -> object:
        if not isinstance(value, bytes):
            raise Refused("malformed", f"the {what} is not wrapped in a byte string")
        return cbor.loads(value, what, max_size=MAX_SIZE)

    try:
        value = cbor.loads(data, "manifest", max_size=MAX_SIZE)
        common = opened(value[3], "common")
        ((kind, name),) = common[2]  # type: ignore[index]
        identity = opened(common[4], "shared sequence")[3]  # type: ignore[index]
        version = opened(value[23], "text")["en"][(kind, name)][6]  # type: ignore[index]
        digest = opened(identity[3], "digest")[1]  # type: ignore[index]
        manifest = DataManifest(name.decode(), value[2], version, identity[1], identity[2], digest, identity[14])
        same = encode(manifest) == data
    except TidegateError as error:
        raise Refused("malformed", error.message) from error
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise Refused("malformed", "it is not the manifest of a data component") from error
    if not same:  # one shape only: whatever else it says, nobody has looked at
        raise Refused("malformed", "the manifest is not the one of a data component (docs/wire.cddl)")
    return manifest


def _check(manifest: DataManifest) -> None:
    names.COMPONENT.check(manifest.name)
    for what, number, most in (
        ("sequence number", manifest.sequence, MAX_SEQUENCE),
        ("size", manifest.size, MAX_PAYLOAD),
    ):
        if type(number) is not int or not 0 < number <= most:
            raise TidegateError(f"the {what} {number!r} of {manifest.name} is not in 1..{most}")
    if not isinstance(manifest.version, str) or not 0 < len(manifest.version.encode()) <= MAX_VERSION:
        raise TidegateError(f"version {manifest.version!r} is not a text of 1 to {MAX_VERSION} bytes")
    for what, value, size in (
        ("vendor id", manifest.vendor_id, 16),
        ("class id", manifest.class_id, 16),
        ("digest", manifest.digest, 32),
    ):
        if not isinstance(value, bytes) or len(value) != size:
            raise TidegateError(f"the {what} is not {size} bytes")
