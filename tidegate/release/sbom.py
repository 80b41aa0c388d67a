"""The bill of materials (SBOM) of a release, in CycloneDX 1.6, and its signature by the release keys.

    DIR/sbom.cdx.json   what is in the images: every file with its SHA-256, by library, application and machine code
    DIR/sbom.cose       a COSE_Sign of its SHA-256, made when the release is signed

The same release gives the same bytes: there is no time in it, and its serial number is derived from the release.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from tidegate.errors import Refused
from tidegate.files import read_limited, write_atomic
from tidegate.image import romfs
from tidegate.release.folder import Release, Target
from tidegate.trust.keys import Key
from tidegate.trust.store import TrustStore
from tidegate.wire import cbor, cose

DOCUMENT, SIGNATURE = "sbom.cdx.json", "sbom.cose"
MAX_DOCUMENT = 256 * 1024
MAX_SIGNED = 1024
_MAX_SIGNATURES = 4  # as of a manifest
_HEADERS = {cose.HEADER_TYP: "application/vnd.tidegate.sbom+cbor"}
_WHAT = "signature of the SBOM"
_PRODUCT, _VERSION, _SEQUENCE, _DIGEST = 1, 2, 3, 4
_NAMESPACE = uuid.UUID("6f1d7c52-0d0b-5d3c-9d56-5a5a6d1f2f0e")
_INTERPRETER = "mpy-cross"  # its version is that of the MicroPython whose bytecode images are made of


def document(release: Release) -> bytes:
    """The SBOM of a release, of which every image is read and its digest checked."""
    origin = release.origin
    images = [_image(release, target) for _, target in sorted(release.targets.items())]
    tools = {} if origin is None else origin.tools
    parts: list[dict[str, Any]] = list(images)
    if _INTERPRETER in tools:
        parts.append({**_component("platform", "MicroPython", "micropython"), "version": tools[_INTERPRETER]})
    main = {
        **_component("firmware", release.product, "release"),
        "supplier": {"name": release.vendor, "url": [f"https://{release.vendor}"]},
        "version": release.version,
        "properties": [_property("sequence", str(release.sequence))],
    }
    if origin is not None and origin.commit is not None:
        main["properties"].append(_property("commit", origin.commit))
    made_by = [{**_component("application", name, f"tool/{name}"), "version": tools[name]} for name in sorted(tools)]
    serial = uuid.uuid5(_NAMESPACE, json.dumps([release.product, release.version, release.sequence, images]))
    value = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {**({"tools": {"components": made_by}} if made_by else {}), "component": main},
        "components": parts,
        "dependencies": [
            {"ref": "release", "dependsOn": [part["bom-ref"] for part in parts]},
            *({"ref": part["bom-ref"]} for part in parts),
        ],
    }
    return (json.dumps(value, indent=1, ensure_ascii=True) + "\n").encode()


def sign(release: Release, keys: Sequence[Key]) -> None:
    """Write the release's SBOM and the release keys' signature of it into its folder."""
    data = document(release)
    statement = cbor.dumps(_statement(release.product, release.version, release.sequence, data))
    signed = cose.sign([key.signer_for("release") for key in keys], statement, _HEADERS)
    write_atomic(release.folder / DOCUMENT, data)
    write_atomic(release.folder / SIGNATURE, signed)


def stored(release: Release) -> tuple[bytes, bytes] | None:
    """SBOM and signature in the release's folder; None without one, as in folders that an older version signed."""
    found = (release.folder / DOCUMENT, release.folder / SIGNATURE)
    if not all(path.exists() for path in found):
        return None
    return read_limited(found[0], MAX_DOCUMENT, "SBOM"), read_limited(found[1], MAX_SIGNED, _WHAT)


def verify(data: bytes, signature: bytes, of: tuple[str, str, int], trust: TrustStore) -> None:
    """Refused unless enough release keys of `trust` signed this SBOM; `of`: product, version and sequence number."""
    opened = cose.decode_sign(signature, _WHAT, most=_MAX_SIGNATURES, max_size=MAX_SIGNED)
    if opened.headers != _HEADERS:
        raise Refused("typ", "the message is not typed as the signature of an SBOM")
    trust.quorum("release", opened.signatures, "SBOM")
    if opened.payload != cbor.dumps(_statement(*of, data)):
        raise Refused("digest", "the SBOM is not the one that was signed for this release", "Sign the release again")


def _statement(product: str, version: str, sequence: int, data: bytes) -> dict[int, Any]:
    return {_PRODUCT: product, _VERSION: version, _SEQUENCE: sequence, _DIGEST: hashlib.sha256(data).digest()}


def _image(release: Release, target: Target) -> dict[str, Any]:
    """An image, the parts in it, and their files."""
    files = romfs.files(release.payload(target.digest))
    parts: dict[tuple[str, str], list[tuple[str, bytes]]] = {}
    for path, content in files.items():
        parts.setdefault(_part_of(path), []).append((path, content))
    return {
        **_component("firmware", f"{release.product} for {target.board}", f"image/{target.board}"),
        "version": release.version,
        "hashes": [{"alg": "SHA-256", "content": target.digest}],
        "properties": [_property("board", target.board), _property("size", str(target.size))],
        "components": [
            {
                **_component(kind, name, f"image/{target.board}/{kind}/{name}"),
                "components": [_file(target.board, path, content) for path, content in sorted(inside)],
            }
            for (kind, name), inside in sorted(parts.items())
        ],
    }


def _part_of(path: str) -> tuple[str, str]:
    """Kind and name of what a file belongs to: a library by its package or module, the application, or neither."""
    folders = PurePosixPath(path).parts[1:]
    if folders[0] == "lib" and len(folders) > 1:
        return "library", PurePosixPath(folders[1]).stem
    if len(folders) > 1:
        return "application", folders[0]
    return "data", "image"


def _file(board: str, path: str, content: bytes) -> dict[str, Any]:
    return {
        **_component("file", path.lstrip("/"), f"image/{board}{path}"),
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}],
    }


def _component(kind: str, name: str, ref: str) -> dict[str, Any]:
    return {"type": kind, "bom-ref": ref, "name": name}


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"tidegate:{name}", "value": value}
