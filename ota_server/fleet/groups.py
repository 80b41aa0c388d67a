"""Changes to groups: what they follow, what their devices should be set to, and who is in them. All of it or nothing.

A change names, by a digest, the state of the groups that it was made for. If somebody else was faster, nothing is
changed: two people who apply different files cannot mix them, and neither overwrites what they have not seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from ota_server.errors import Conflict, NotFound
from ota_server.fleet import rollouts
from ota_server.releases import lookup
from ota_server.releases.manifest_checks import check_offered
from ota_server.security import audit
from ota_server.store import Store, devices, groups, offers
from ota_server.store.models import Group

MAX_SETTINGS = 4096  # bytes of JSON; a device's config.json may not be longer
MAX_GROUPS = 256  # in one change


@dataclass(frozen=True)
class Change:
    """A change to groups.

    `seen` is the digest of the state that it was made for, None for any; groups by name, with what changes in each;
    the new group of devices by id or name.
    """

    seen: str | None
    groups: Mapping[str, Mapping[str, Any]]
    devices: Mapping[str, str]


def apply(store: Store, change: Change, actor: str) -> dict[str, Any]:
    """Carry the change out in one transaction and derive the offers that follow from it; the groups as they are then.

    Raises Problem and then has changed nothing.
    """
    with store.write() as session:
        groups.lock(session)
        if change.seen is not None and change.seen != groups.state_digest(session):
            raise Conflict(
                "changed-meanwhile", "the groups were changed by somebody else meanwhile", "Look again, and repeat"
            )
        done = [_set(session, name, facts) for name, facts in change.groups.items()]
        session.flush()
        moved = [_move(session, device, name) for device, name in change.devices.items()]
        session.flush()
        acts = [act for act in done + moved if act]
        if acts:
            touched = {act[1] for act in acts if act[0] == "group.set"} | set(change.devices.values())
            offers.derive(session, only=touched)
        for action, subject, detail in acts:
            audit.record(session, actor, action, subject, **detail)
        return view(session)


def view(session: Session) -> dict[str, Any]:
    """All groups, and the digest that a change names."""
    sizes = groups.sizes(session)
    return {
        "digest": groups.state_digest(session),
        "groups": [{**_view(group), "devices": sizes.get(group.name, 0)} for group in groups.listed(session)],
    }


def _view(group: Group) -> dict[str, Any]:
    release = group.release
    return {
        "name": group.name,
        "channel": group.channel,
        "release": release and {"product": release.product, "version": release.version, "sequence": release.sequence},
        "settings": group.settings or {},
    }


def _set(session: Session, name: str, facts: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]] | None:
    """Make or change a group; what was done, for the audit log, or None if it was so already."""
    group = groups.get(session, name)
    made = group is None
    if group is None:
        group = Group(name=name, channel=groups.STABLE)
        session.add(group)
    changed: dict[str, Any] = {"made": True} if made else {}
    if "channel" in facts and facts["channel"] != group.channel:
        group.channel = changed["channel"] = facts["channel"]
    if "release" in facts:
        named = facts["release"]
        release = lookup.find(session, named["product"], named["version"]) if named else None
        if (release.id if release else None) != group.release_id:
            if release is not None:
                what = f"{release.product} {release.version}"
                check_offered(what, any(target.withdrawn for target in release.targets))
            group.release_id, group.release = release.id if release else None, release
            changed["release"] = named and {**named, "sequence": release.sequence if release else None}
    if "settings" in facts and (facts["settings"] or {}) != (group.settings or {}):
        group.settings = changed["settings"] = facts["settings"] or {}
    return ("group.set", name, changed) if changed else None


def _move(session: Session, device: str, name: str) -> tuple[str, str, dict[str, Any]] | None:
    row = devices.find(session, device)
    if row is None:
        raise NotFound("no-such-device", f"there is no device {device[:64]}", "tidegate device list shows the devices")
    if row.group == name:
        return None
    rollouts.find_group(session, name)
    before, row.group = row.group, name
    return ("device.move", row.id, {"group": name, "before": before})
