"""The dry run of publishing a release or rolling it out: which devices would get what, and which nothing, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ota_server.releases.images import ImageCandidate
from ota_server.releases.payloads import Payloads
from ota_server.store import groups, offers, steps
from ota_server.store.models import Device, Group, Release
from tidegate import manifest
from tidegate.trust import store

_MOST_NAMED = 10  # devices named in one row of a plan

# Why the devices of a group would not be offered the release; None if they would.
Reach = Callable[[Group], str | None]


def plan(
    session: Session, candidate: ImageCandidate, keys: store.TrustStore, payloads: Payloads, *, name_devices: bool
) -> dict[str, Any]:
    """Check the release without its payloads, and predict what devices of its product would be offered.

    Raises Problem or Refused as publishing it would. `missing` are the payloads to upload first; `devices` has a row
    for all devices that are alike: board, group, what they run, how many, what they would get.
    """
    known = candidate.find(session)
    facts = {board: candidate.verify(board, envelope, keys) for board, envelope in sorted(candidate.envelopes.items())}
    needed = [name for one in facts.values() for name in _payloads(one)]
    channel = known.channel if known is not None else candidate.channel or groups.STABLE
    standing = {channel} if known is None else set(groups.channels(session, known.id))

    def why_not_reached(group: Group) -> str | None:
        return _why_not_reached(group, candidate, standing)

    return {
        "product": candidate.product,
        "version": candidate.version,
        "sequence": candidate.sequence,
        "channel": channel,
        "published": known is not None and set(facts) <= {target.board for target in known.targets},
        "missing": [name for name in dict.fromkeys(needed) if not payloads.has(name)],
        "devices": _devices(
            session, candidate, facts, lambda group: _why_not_reached(group, candidate, standing), name_devices
        ),
    }


def rollout_plan(
    session: Session, release: Release, where: tuple[str, str], *, name_devices: bool
) -> list[dict[str, Any]]:
    """The rows of `plan` for a published release that is brought to ("channel", name) or ("group", name)."""
    kind, name = where
    standing = {*groups.channels(session, release.id), *([name] if kind == "channel" else [])}

    def why_not_reached(group: Group) -> str | None:
        if kind == "group" and group.name == name:
            return None
        return _why_not_reached(group, release, standing)

    facts = {
        target.board: manifest.decode(manifest.open_envelope(target.envelope).manifest) for target in release.targets
    }
    return _devices(session, release, facts, why_not_reached, name_devices)


def _why_not_reached(group: Group, what: ImageCandidate | Release, standing: set[str]) -> str | None:
    if group.release is not None and offers.is_pinned(group, what.product):
        pinned = group.release
        return None if pinned.sequence == what.sequence else f"its group is pinned to {pinned.version}"
    return None if group.channel in standing else f"its group follows the channel {group.channel}"


def _payloads(facts: manifest.Manifest) -> list[str]:
    return [facts.image.digest.hex(), *(patch.digest.hex() for patch in facts.patches)]


def _devices(
    session: Session,
    what: ImageCandidate | Release,
    facts: Mapping[str, manifest.Manifest],
    why_not_reached: Reach,
    name_devices: bool,
) -> list[dict[str, Any]]:
    known = {group.name: group for group in groups.listed(session)}
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for device in session.scalars(select(Device).where(Device.product == what.product).order_by(Device.id)):
        fate = _fate(session, device, why_not_reached(known[device.group]), what, facts.get(device.board))
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
    session: Session,
    device: Device,
    unreached: str | None,
    what: ImageCandidate | Release,
    facts: manifest.Manifest | None,
) -> dict[str, Any]:
    """What the device would get: `gets` is patch, image, nothing or unknown; `bytes` to fetch; `why`.

    For one that has to take another release first it is that one, and `why` says so.
    """
    why = _why_nothing(device, unreached, what.sequence, facts)
    if why or facts is None:
        return {"gets": "nothing", "bytes": 0, "why": why}
    runs = (device.sequence, device.micropython)
    way = steps.before(session, device.product, device.board, what.sequence, facts.needs, *runs)
    if way.why:
        return {"gets": "nothing", "bytes": 0, "why": way.why}
    if way.targets:
        versions = [target.release.version for target in way.targets]
        first = manifest.decode(manifest.open_envelope(way.targets[0].envelope).manifest)
        return {**_download(device, first), "why": f"{versions[0]} first: it goes through {' and '.join(versions)}"}
    return _download(device, facts)


def _download(device: Device, facts: manifest.Manifest) -> dict[str, Any]:
    if device.digest is None:
        return {"gets": "unknown", "bytes": None, "why": "has not said yet what it runs"}
    patch = next((patch for patch in facts.patches if patch.base_digest.hex() == device.digest), None)
    if patch is not None:
        return {"gets": "patch", "bytes": patch.size, "why": None}
    return {"gets": "image", "bytes": facts.image.size, "why": "no patch from what it runs"}


def _why_nothing(device: Device, unreached: str | None, sequence: int, facts: manifest.Manifest | None) -> str | None:
    if device.revoked_at is not None:
        return "is revoked"
    if facts is None:
        return f"the release has no image for {device.board}"
    if unreached is not None:
        return unreached
    if (device.sequence or 0) > sequence:
        return "runs a newer one"
    if device.sequence == sequence or device.digest == facts.image.digest.hex():
        return "runs it"
    if (device.failed_sequence or 0) >= sequence:
        return "refused it, failed at it or rolled it back"
    return None
