"""What publishing a release would do: which devices would get what, and which nothing, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tidegate import manifest, trust

from .payloads import Payloads
from .releases import Candidate, precheck, verify
from .store import groups
from .store.models import Device, Group

_MOST_NAMED = 10  # devices named in one row of a plan


def plan(
    session: Session, wanted: Candidate, keys: trust.TrustStore, payloads: Payloads, *, name_devices: bool
) -> dict[str, Any]:
    """Judge the release but for its payloads, and foretell what devices of its product would be offered.

    Raises Problem or Refused as publishing it would. `missing` are the payloads to upload first; `devices` has a row
    for all devices that are alike: board, group, what they run, how many, what they would get.
    """
    known = precheck(session, wanted)
    facts = {board: verify(wanted, board, envelope, keys) for board, envelope in sorted(wanted.envelopes.items())}
    needed = [name for one in facts.values() for name in _payloads(one)]
    channel = known.channel if known is not None else wanted.channel or groups.STABLE
    standing = {channel} if known is None else set(groups.channels(session, known.id))
    return {
        "product": wanted.product,
        "version": wanted.version,
        "sequence": wanted.sequence,
        "channel": channel,
        "published": known is not None and set(facts) <= {target.board for target in known.targets},
        "missing": [name for name in dict.fromkeys(needed) if not payloads.has(name)],
        "devices": _devices(session, wanted, facts, standing, name_devices),
    }


def _payloads(facts: manifest.Manifest) -> list[str]:
    return [facts.image.digest.hex(), *(patch.digest.hex() for patch in facts.patches)]


def _devices(
    session: Session,
    wanted: Candidate,
    facts: Mapping[str, manifest.Manifest],
    standing: set[str],
    name_devices: bool,
) -> list[dict[str, Any]]:
    known = {group.name: group for group in groups.listed(session)}
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for device in session.scalars(select(Device).where(Device.product == wanted.product).order_by(Device.id)):
        fate = _fate(device, known[device.group], wanted, facts.get(device.board), standing)
        key = (device.board, device.group, device.version, device.sequence, *fate.values())
        row = rows.setdefault(
            key,
            {
                "board": device.board,
                "group": device.group,
                "version": device.version,
                "sequence": device.sequence,
                "devices": 0,
                **fate,
                **({"ids": []} if name_devices else {}),
            },
        )
        row["devices"] += 1
        if name_devices and len(row["ids"]) < _MOST_NAMED:
            row["ids"].append(device.id)
    return sorted(rows.values(), key=lambda row: (row["gets"] == "nothing", row["board"], row["group"]))


def _fate(
    device: Device, group: Group, wanted: Candidate, facts: manifest.Manifest | None, standing: set[str]
) -> dict[str, Any]:
    """What the device would get: `gets` is patch, image, nothing or unknown; `bytes` to fetch; `why`."""
    why = _why_nothing(device, group, wanted, facts, standing)
    if why or facts is None:
        return {"gets": "nothing", "bytes": 0, "why": why}
    if device.digest is None:
        return {"gets": "unknown", "bytes": None, "why": "has not said yet what it runs"}
    patch = next((patch for patch in facts.patches if patch.base_digest.hex() == device.digest), None)
    if patch is not None:
        return {"gets": "patch", "bytes": patch.size, "why": None}
    return {"gets": "image", "bytes": facts.image.size, "why": "no patch from what it runs"}


def _why_nothing(
    device: Device, group: Group, wanted: Candidate, facts: manifest.Manifest | None, standing: set[str]
) -> str | None:
    if device.revoked_at is not None:
        return "is revoked"
    if facts is None:
        return f"the release has no image for {device.board}"
    if group.release is not None and groups.is_pinned(group, wanted.product):
        if group.release.sequence != wanted.sequence:
            return f"its group is pinned to {group.release.version}"
    elif group.channel not in standing:
        return f"its group follows the channel {group.channel}"
    if (device.sequence or 0) > wanted.sequence:
        return "runs a newer one"
    if device.sequence == wanted.sequence or device.digest == facts.image.digest.hex():
        return "runs it"
    if (device.failed_sequence or 0) >= wanted.sequence:
        return "refused it, failed at it or rolled it back"
    return None
