"""The manifest inside the SUIT envelope: the profile of docs/wire.cddl as facts and as bytes.

`Manifest` holds the few facts that differ from one manifest to the next; `encode` writes them in the one
shape the profile allows and `decode` accepts no other. Only standard SUIT labels are used; that a payload
is a patch is stated in fetch-arguments (parameter 25), which the draft leaves to the implementation.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any

from tidegate import names
from tidegate.errors import Refused, TidegateError
from tidegate.wire import cbor

MAX_SIZE = 2048
MAX_PATCHES = 8
MAX_SEQUENCE = 2**32 - 1  # the boot record keeps 32 bits
MAX_PAYLOAD = 2**32 - 1
MAX_VERSION = names.VERSION.most
POLICY = 15  # report success and failure, with records
PATCH_FORMAT = 1
MAX_RESTART = 604_800  # seconds, as of the device's own restart_wait_s

_SHA256 = -16
_COMPONENTS = [[b"next"], [b"run"]]
_VENDOR, _CLASS, _MATCH, _INDEX, _TRY_EACH, _SET, _FETCH = 1, 2, 3, 12, 15, 20, 21
_P_VENDOR, _P_CLASS, _P_DIGEST, _P_SIZE, _P_URI, _P_FETCH_ARGS = 1, 2, 3, 14, 21, 25
_FETCH_AND_CHECK = [_FETCH, POLICY, _MATCH, POLICY]
_T_VERSION, _T_SEQUENCE, _T_MICROPYTHON, _T_RESTART = 6, -1, -2, -3  # of the text; those below 0 are our own
_MICROPYTHON = re.compile(r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){1,2})?", re.ASCII)
_PAYLOADS = "p/"  # where payloads are, relative to the server


@dataclass(frozen=True)
class Image:
    """The image the manifest installs: SHA-256 and size in bytes."""

    digest: bytes
    size: int


@dataclass(frozen=True)
class Patch:
    """A patch that makes the image from one base: SHA-256 and size of both."""

    base_digest: bytes
    base_size: int
    digest: bytes
    size: int


@dataclass(frozen=True)
class Needs:
    """What a device must have before it takes the image: a release of this sequence number or newer to come from (0:
    any), and this MicroPython or a newer one ("1.26", "1.26.1"; "": any)."""

    sequence: int = 0
    micropython: str = ""

    def __str__(self) -> str:
        parts = [f"sequence {self.sequence} or newer"] if self.sequence else []
        return " and ".join(parts + ([f"MicroPython {self.micropython} or newer"] if self.micropython else []))


@dataclass(frozen=True)
class Manifest:
    """What a manifest of the profile says. `version` is for people, `sequence` decides what is newer.

    restart_s: so many seconds at most an installed image waits for the application before the restart; None: as the
    device is set.
    """

    sequence: int
    version: str
    vendor_id: bytes
    class_id: bytes
    image: Image
    patches: tuple[Patch, ...] = ()
    needs: Needs = Needs()
    restart_s: int | None = None


def vendor_id(domain: str) -> bytes:
    """UUIDv5 of the vendor's domain name."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, domain).bytes


def class_id(vendor: bytes, product: str, board: str) -> bytes:
    """UUIDv5 of product and board under the vendor: what one image fits."""
    return uuid.uuid5(uuid.UUID(bytes=vendor), f"{product}/{board}").bytes


def encode(manifest: Manifest) -> bytes:
    """The manifest's own bytes (unsigned, without the byte-string head)."""
    _check(manifest)
    wrap = cbor.dumps
    new = {_P_DIGEST: wrap_digest(manifest.image.digest), _P_SIZE: manifest.image.size, _P_URI: _PAYLOADS}
    identity = {_P_VENDOR: manifest.vendor_id, _P_CLASS: manifest.class_id}
    shared = [_INDEX, 0, _SET, {**identity, **new}, _VENDOR, POLICY, _CLASS, POLICY]
    full = [_INDEX, 0, _SET, {_P_URI: _uri(manifest.image.digest)}]
    if manifest.patches:
        branches = [wrap(_patch_branch(patch)) for patch in manifest.patches]
        choice: list[Any] = [_TRY_EACH, [*branches, wrap(full)], _INDEX, 0]
    else:
        choice = full  # the draft's try-each wants at least two branches
    return wrap(
        {
            1: 1,
            2: manifest.sequence,
            3: wrap({2: _COMPONENTS, 4: wrap(shared)}),
            7: wrap([_MATCH, POLICY]),
            20: wrap([*choice, *_FETCH_AND_CHECK]),
            23: wrap(_text(manifest)),
        }
    )


def decode(data: bytes) -> Manifest:
    """The facts in the manifest bytes `data`; Refused("malformed") when it leaves the profile."""
    value = _map(cbor.loads(data, "manifest", max_size=MAX_SIZE), {1, 2, 3, 7, 20, 23}, "manifest")
    if value[1] != 1 or isinstance(value[1], bool):
        raise _bad(f"the manifest's structure version {value[1]!r} is not 1")
    common = _map(_open(value[3], "common"), {2, 4}, "common")
    if common[2] != _COMPONENTS:
        raise _bad("the manifest's components must be the next and the running slot")
    shared = _open(common[4], "shared sequence")
    parameters = _at(shared, 3, "shared sequence")
    _same(shared, [_INDEX, 0, _SET, parameters, _VENDOR, POLICY, _CLASS, POLICY], "shared sequence")
    identity = _map(parameters, {_P_VENDOR, _P_CLASS, _P_DIGEST, _P_SIZE, _P_URI}, "shared parameters")
    image = Image(read_digest(identity[_P_DIGEST], "shared parameters"), identity[_P_SIZE])
    _same(_open(value[7], "validate"), [_MATCH, POLICY], "validate")
    text = _open(value[23], "text")
    said = _read_text(text)
    needs = Needs(said.get(_T_SEQUENCE, 0), said.get(_T_MICROPYTHON, ""))
    ids = identity[_P_VENDOR], identity[_P_CLASS]
    patches = _read_install(value[20], image)
    manifest = Manifest(value[2], said.get(_T_VERSION, ""), *ids, image, patches, needs, said.get(_T_RESTART))
    _same(text, _text(manifest), "text")
    try:
        _check(manifest)
    except TidegateError as error:
        raise Refused("malformed", error.message) from error
    if encode(manifest) != data:  # true passes for 1, and 2.0 for 2, in some comparison above
        raise _bad("the manifest has a value of the wrong type")
    return manifest


def address(digest: bytes) -> str:
    """Where a payload is served, relative to the server: named by its SHA-256."""
    return _uri(digest)


def _patch_branch(patch: Patch) -> list[Any]:
    base = {_P_DIGEST: wrap_digest(patch.base_digest), _P_SIZE: patch.base_size}
    fetch = cbor.dumps({1: PATCH_FORMAT, 2: 1, 3: patch.size, 4: patch.digest})
    # The digest in the arguments completes the shared address, so it is carried once (docs/decisions/0005).
    # The base is checked before anything is overridden, so a failed branch leaks nothing into the next.
    return [
        *(_INDEX, 1, _SET, base, _MATCH, POLICY),
        *(_INDEX, 0, _SET, {_P_FETCH_ARGS: fetch}),
    ]


def _read_install(data: Any, image: Image) -> tuple[Patch, ...]:
    install = _open(data, "install")
    full = [_INDEX, 0, _SET, {_P_URI: _uri(image.digest)}]
    if _at(install, 0, "install") != _TRY_EACH:
        _same(install, [*full, *_FETCH_AND_CHECK], "install")
        return ()
    branches = _at(install, 1, "install")
    _same(install, [_TRY_EACH, branches, _INDEX, 0, *_FETCH_AND_CHECK], "install")
    if not isinstance(branches, list) or not 2 <= len(branches) <= MAX_PATCHES + 1:
        raise _bad(f"install must try 1 to {MAX_PATCHES} patches and then the image")
    _same(_open(branches[-1], "image branch"), full, "image branch")
    return tuple(_read_branch(_open(branch, "patch branch")) for branch in branches[:-1])


def _read_branch(branch: Any) -> Patch:
    base = _map(_at(branch, 3, "patch branch"), {_P_DIGEST, _P_SIZE}, "patch branch")
    target = _map(_at(branch, 9, "patch branch"), {_P_FETCH_ARGS}, "patch branch")
    fetch = _map(_open(target[_P_FETCH_ARGS], "fetch arguments"), {1, 2, 3, 4}, "fetch arguments")
    if not isinstance(fetch[4], bytes) or len(fetch[4]) != 32:
        raise _bad("a patch is not named by its digest")
    patch = Patch(read_digest(base[_P_DIGEST], "patch branch"), base[_P_SIZE], fetch[4], fetch[3])
    _check_size(patch.size, "patch")
    _check_size(patch.base_size, "base")
    _same(branch, _patch_branch(patch), "patch branch")
    return patch


def _text(manifest: Manifest) -> dict[str, Any]:
    # Where old agents read nothing but the signature. A key is there only if it says something.
    needs = manifest.needs
    said: dict[int, Any] = {_T_VERSION: manifest.version}
    said |= {_T_SEQUENCE: needs.sequence} if needs.sequence else {}
    said |= {_T_MICROPYTHON: needs.micropython} if needs.micropython else {}
    said |= {} if manifest.restart_s is None else {_T_RESTART: manifest.restart_s}
    return {"en": {(b"next",): said}}


def _read_text(text: Any) -> dict[Any, Any]:
    """What the text says of component 0, unchecked."""
    component = text.get("en") if isinstance(text, dict) else None
    entry = component.get((b"next",)) if isinstance(component, dict) else None
    return entry if isinstance(entry, dict) else {}


def _check(manifest: Manifest) -> None:
    number = manifest.sequence
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number <= MAX_SEQUENCE:
        raise TidegateError(f"sequence number {number!r} is not in 1..{MAX_SEQUENCE}")
    version = manifest.version
    if not isinstance(version, str) or not 0 < len(version.encode()) <= MAX_VERSION:
        raise TidegateError(f"version {version!r} is not a text of 1 to {MAX_VERSION} bytes")
    for name, value in (("vendor", manifest.vendor_id), ("class", manifest.class_id)):
        if not isinstance(value, bytes) or len(value) != 16:
            raise TidegateError(f"the {name} id is not a UUID of 16 bytes")
    check_needs(manifest.needs, number)
    check_restart(manifest.restart_s)
    _check_size(manifest.image.size, "image")
    if len(manifest.patches) > MAX_PATCHES:
        raise TidegateError(f"a manifest carries at most {MAX_PATCHES} patches, not {len(manifest.patches)}")
    bases = [patch.base_digest for patch in manifest.patches]
    if len(set(bases)) != len(bases):
        raise TidegateError("two patches start from the same base")


def check_needs(needs: Needs, sequence: int) -> None:
    """TidegateError unless a release of this sequence number can need that."""
    if type(needs.sequence) is not int or not 0 <= needs.sequence < sequence:
        raise TidegateError(
            f"release {sequence} cannot need {needs.sequence!r:.40} to come from",
            "Name the sequence number of an earlier release",
        )
    if not isinstance(needs.micropython, str) or not _MICROPYTHON.fullmatch(needs.micropython):
        raise TidegateError(
            f"{needs.micropython!r:.40} is not a version of MicroPython", "Write it like 1.26 or 1.26.1"
        )


def check_restart(seconds: int | None) -> None:
    """TidegateError unless an image can say that it waits so long at most."""
    if seconds is not None and (type(seconds) is not int or not 0 <= seconds <= MAX_RESTART):
        raise TidegateError(f"a restart within {seconds!r:.40} seconds is not possible", f"Give 0 to {MAX_RESTART}")


def micropython_number(version: str | None) -> tuple[int, ...] | None:
    """A version like "1.26.1", as a device says it, to be compared; None if it is none."""
    found = _MICROPYTHON.match(version or "")
    return tuple(int(part) for part in found[0].split(".")) if found and found[0] else None


def _check_size(size: Any, what: str) -> None:
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= MAX_PAYLOAD:
        raise _bad(f"the {what} size {size!r} is not in 1..{MAX_PAYLOAD}")


def wrap_digest(sha256: bytes) -> bytes:
    """The encoded SUIT_Digest of a SHA-256."""
    return cbor.dumps([_SHA256, sha256])


def read_digest(data: Any, where: str) -> bytes:
    """The SHA-256 in an encoded SUIT_Digest; `where` names it in errors."""
    value = _open(data, f"digest of the {where}")
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[1], bytes):
        raise _bad(f"the {where} has a malformed digest")
    if len(value[1]) != 32 or data != wrap_digest(value[1]):
        raise _bad(f"the {where} has a digest that is not SHA-256")
    return value[1]


def _uri(digest: bytes) -> str:
    return f"{_PAYLOADS}{digest.hex()}"


def _open(data: Any, what: str) -> Any:
    if not isinstance(data, bytes):
        raise _bad(f"the {what} is not wrapped in a byte string")
    return cbor.loads(data, what, max_size=MAX_SIZE)


def _map(value: Any, keys: set[int], what: str) -> dict[int, Any]:
    if not isinstance(value, dict) or set(value) != keys:
        raise _bad(f"the {what} must be a map of the labels {', '.join(map(str, sorted(keys)))}")
    return value


def _at(sequence: Any, index: int, what: str) -> Any:
    if not isinstance(sequence, list) or len(sequence) <= index:
        raise _bad(f"the {what} is too short")
    return sequence[index]


def _same(value: Any, profile: Any, what: str) -> None:
    """Compare by encoding, so that true does not pass for 1."""
    if cbor.dumps(value) != cbor.dumps(profile):
        raise _bad(f"the {what} is not the one of the profile (docs/wire.cddl)")


def _bad(message: str) -> Refused:
    return Refused("malformed", message)
