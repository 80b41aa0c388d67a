"""The images and the signed releases of a simulated fleet. Content is chosen by the seed; only signatures differ."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidegate import delta, manifest
from tidegate.client.server import Server
from tidegate.errors import TidegateError
from tidegate.image import Identity, pack
from tidegate.simulate.scenario import Fleet
from tidegate.trust.keys import Key

FIRST = 1  # sequence number of what the devices run at first
_CHANGED = 64  # bytes that differ from one release to the next
_CODE = 1024


@dataclass(frozen=True)
class Running:
    """An image that devices run. digest: its SHA-256."""

    version: str
    sequence: int
    digest: bytes


def image(fleet: Fleet, seed: int, sequence: int) -> bytes:
    """A ROMFS image of about `image_bytes`; those of neighbouring numbers differ a little."""
    code = bytearray(random.Random(f"image {seed}").randbytes(max(_CODE, fleet.image_bytes - 400)))
    code[:_CHANGED] = random.Random(f"image {seed} {sequence}").randbytes(_CHANGED)
    identity = Identity(fleet.product, version(sequence), sequence, fleet.board)
    return pack({"app": {"main.mpy": bytes(code)}, "release.json": identity.encode()})


def version(sequence: int) -> str:
    return f"{sequence}.0.0"


def running(fleet: Fleet, seed: int, sequence: int = FIRST) -> Running:
    """What devices of this fleet run when they have this release."""
    return Running(version(sequence), sequence, hashlib.sha256(image(fleet, seed, sequence)).digest())


def newest(server: Server, fleet: Fleet, seed: int) -> Running:
    """What the fleet runs before anything happens: the product's newest release there, else the first image."""
    found = [one for one in server.releases().get("releases", []) if one.get("product") == fleet.product]
    targets = {one["sequence"]: (one["version"], one["targets"].get(fleet.board)) for one in found}
    if not targets:
        return running(fleet, seed, FIRST)
    sequence = max(targets)
    name, target = targets[sequence]
    digest = bytes(32) if target is None else bytes.fromhex(target["image"]["digest"])
    return Running(name, sequence, digest)


def publish(
    server: Server,
    fleet: Fleet,
    seed: int,
    sequence: int,
    key: Key,
    base: int | None = None,
    channel: str | None = None,
) -> Running:
    """Publish the release with this number, with a patch from release `base` if that is given; into this channel."""
    new = image(fleet, seed, sequence)
    patches: dict[bytes, bytes] = {}
    if base is not None:
        old = image(fleet, seed, base)
        patches[old] = delta.make(old, new)
    vendor = manifest.vendor_id(fleet.vendor)
    facts = manifest.Manifest(
        sequence=sequence,
        version=version(sequence),
        vendor_id=vendor,
        class_id=manifest.class_id(vendor, fleet.product, fleet.board),
        image=manifest.Image(hashlib.sha256(new).digest(), len(new)),
        patches=tuple(
            manifest.Patch(hashlib.sha256(old).digest(), len(old), hashlib.sha256(patch).digest(), len(patch))
            for old, patch in patches.items()
        ),
    )
    envelope = manifest.sign(manifest.encode(facts), [key])
    for payload in (new, *patches.values()):
        server.put_payload(hashlib.sha256(payload).hexdigest(), payload)
    document = _document(fleet, sequence, envelope) | ({} if channel is None else {"channel": channel})
    _published(server.publish(document), sequence)
    return running(fleet, seed, sequence)


def _document(fleet: Fleet, sequence: int, envelope: bytes) -> dict[str, Any]:
    target = {"envelope": base64.b64encode(envelope).decode("ascii")}
    facts = {"product": fleet.product, "vendor": fleet.vendor, "version": version(sequence), "sequence": sequence}
    return {**facts, "targets": {fleet.board: target}}


def _published(answer: Mapping[str, Any], sequence: int) -> None:
    if not answer.get("published"):
        raise TidegateError(f"release {sequence} was there already", "Start again: the next number is chosen then")
