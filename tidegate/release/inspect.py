"""Recognises what a file or folder is: release, image, patch, manifest, trust store or command."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from tidegate import delta, json_text
from tidegate import manifest as suit
from tidegate.commands import cwt
from tidegate.errors import Refused, TidegateError
from tidegate.files import read_limited
from tidegate.image import romfs
from tidegate.release.folder import INDEX, MAX_PAYLOAD, encode_index, load_release
from tidegate.trust import keys, rotation
from tidegate.trust import store as trust_store
from tidegate.wire import messages


def inspect_file(path: Path | str) -> dict[str, Any]:
    """The facts in `path` as a dict with "kind"; only the form is verified. Refused if it is malformed."""
    path = Path(path)
    if path.is_dir() or path.name == INDEX:
        release = load_release(path if path.is_dir() else path.parent)
        return {"kind": "release", **json.loads(encode_index(release))}
    data = read_limited(path, MAX_PAYLOAD, "file")
    for starts, kind, read in _KINDS:
        if data.startswith(starts):
            return {"kind": kind, "size": len(data), **read(data)}
    if data.startswith(b"\xd8\x62"):
        kind, found = _signers(data)
        return {"kind": kind, "size": len(data), **found}
    if data[:1] == b"\xa3":
        return {"kind": "trust store", "size": len(data), **_trust(data)}
    raise TidegateError(
        f"{path} is not one of Tidegate's files",
        "Name a release folder, manifest, image, patch, trust store or command",
    )


def _manifest(data: bytes) -> dict[str, Any]:
    envelope = suit.open_envelope(data)
    manifest = suit.decode(envelope.manifest)
    return {
        "sequence": manifest.sequence,
        "version": manifest.version,
        "vendor_id": manifest.vendor_id.hex(),
        "class_id": manifest.class_id.hex(),
        "image": {"digest": manifest.image.digest.hex(), "size": manifest.image.size},
        "patches": [
            {
                "base": patch.base_digest.hex(),
                "base_size": patch.base_size,
                "digest": patch.digest.hex(),
                "size": patch.size,
            }
            for patch in manifest.patches
        ],
        **({} if manifest.needs == suit.Needs() else {"needs": vars(manifest.needs)}),
        **({} if manifest.restart_s is None else {"restart_s": manifest.restart_s}),
        "digest": envelope.digest.hex(),
        "signed_by": [signature.kid.hex() for signature in envelope.signatures],
    }


def _image(data: bytes) -> dict[str, Any]:
    files = romfs.files(data)
    identity = {}
    if "/release.json" in files:
        identity = {"release": json_text.loads(files["/release.json"])}
    return {
        "digest": hashlib.sha256(data).hexdigest(),
        **identity,
        "files": {name: len(content) for name, content in files.items()},
    }


def patch_facts(data: bytes) -> dict[str, Any]:
    """What `tidegate delta info` shows of a patch."""
    info = delta.info(data)
    return {
        "codec": delta.CODECS[info.header.codec],
        "base_size": info.header.old_size,
        "base_check": info.header.old_check.hex(),
        "new_size": info.header.new_size,
        "new_check": info.header.new_check.hex(),
        "operations": info.operations,
        "copied": info.copied,
        "changed": info.changed,
        "inserted": info.inserted,
    }


def _trust(data: bytes) -> dict[str, Any]:
    return trust_facts(trust_store.decode(data))


def trust_facts(store: trust_store.TrustStore) -> dict[str, Any]:
    """What `tidegate trust show` shows of a store."""
    return {
        "version": store.version,
        "thresholds": {role: store.threshold(role) for role in keys.ROLES if store.role(role)},
        "keys": [{"role": key.role, "kid": key.kid.hex(), "public": key.public.hex()} for key in store.keys],
        "revoked": [kid.hex() for kid in store.revoked],
    }


def _signers(data: bytes) -> tuple[str, dict[str, Any]]:
    """Tag 98: a trust update, or a command of several signers."""
    try:
        store = rotation.store_of(data)
    except Refused as refusal:
        if refusal.reason != "typ":
            raise
        return "command", _command(data)
    return "trust update", {**trust_facts(store), "signed_by": [kid.hex() for kid in rotation.signers(data)]}


def _command(data: bytes) -> dict[str, Any]:
    request, signatures = cwt.decode(data)
    return {
        "audience": request.audience,
        "opcode": request.opcode,
        "arguments": messages.plain(request.arguments),
        "cti": request.cti.hex(),
        "issued": _when(request.issued),
        "expires": _when(request.expires),
        "nonce": request.nonce.hex() if request.nonce else None,
        "signed_by": [signature.kid.hex() for signature in signatures],
    }


def _when(seconds: int) -> str:
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return str(seconds)


_KINDS = (
    (b"\xd8\x6b", "manifest", _manifest),
    (romfs.MAGIC, "image", _image),
    (tuple(bytes([delta.MAGIC | codec]) for codec in delta.CODECS), "patch", patch_facts),
    (b"\xd2\x84", "command", _command),
)
