"""Changes to groups: what they follow, what their devices should be set to, and who is in them. All of it or nothing.

Who sends a change says by a digest which state of the groups it was made for. If somebody else was faster, nothing
is changed: two people who apply different files cannot mix them, and nobody overwrites what he has not seen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from ota_server.errors import Problem
from ota_server.releases import rollouts
from ota_server.releases.accept import check_channel
from ota_server.releases.envelopes import check_offered
from ota_server.security import audit
from ota_server.store import Store, devices, groups
from ota_server.store.models import Group

MAX_SETTINGS = 4096  # bytes of JSON; a device's config.json may not be longer
_MAX_GROUPS = 256
_MEMBERS = {"channel", "release", "settings"}


@dataclass(frozen=True)
class Change:
    """`seen` is the digest the change was made for, None for whatever there is; groups by name, with what changes in
    each; the new group of devices by id or name."""

    seen: str | None
    groups: Mapping[str, Mapping[str, Any]]
    devices: Mapping[str, str]


def read(body: Any) -> Change:
    """Check the shape of the JSON document of POST /api/v1/groups."""
    if not isinstance(body, dict) or set(body) != {"seen", "groups", "devices"}:
        raise _invalid("the change must have exactly the members seen, groups, devices")
    seen, changed, moved = body["seen"], body["groups"], body["devices"]
    if not (seen is None or isinstance(seen, str)) or not isinstance(changed, dict) or not isinstance(moved, dict):
        raise _invalid("seen must be text or null, groups and devices objects")
    if len(changed) > _MAX_GROUPS:
        raise _invalid(f"a change has at most {_MAX_GROUPS} groups")
    for name, facts in changed.items():
        check_channel(name)
        if not isinstance(facts, dict) or not set(facts) <= _MEMBERS:
            raise _invalid(f"group {name} may have the members {', '.join(sorted(_MEMBERS))}")
        _check_facts(name, facts)
    for name in moved.values():
        check_channel(name)
    return Change(seen, changed, moved)


def _check_facts(name: str, facts: Mapping[str, Any]) -> None:
    if "channel" in facts:
        check_channel(facts["channel"])
    release = facts.get("release")
    if release is not None and not (
        isinstance(release, dict)
        and set(release) == {"product", "version"}
        and all(isinstance(text, str) for text in release.values())
    ):
        raise _invalid(f"the release of group {name} must be an object of product and version, or null")
    settings = facts.get("settings")
    if settings is not None and not isinstance(settings, dict):
        raise _invalid(f"the settings of group {name} must be an object, or null")
    if len(json.dumps(settings)) > MAX_SETTINGS:
        raise _invalid(f"the settings of group {name} have more than {MAX_SETTINGS} bytes")


def apply(store: Store, change: Change, actor: str) -> dict[str, Any]:
    """Carry the change out in one transaction and derive the offers that follow from it; the groups as they are then.

    Raises Problem and then has changed nothing.
    """
    with store.write() as session:
        groups.lock(session)
        if change.seen is not None and change.seen != groups.state_digest(session):
            raise Problem(
                409, "changed-meanwhile", "the groups were changed by somebody else meanwhile", "Look again, and repeat"
            )
        done = [_set(session, name, facts) for name, facts in change.groups.items()]
        session.flush()
        moved = [_move(session, device, name) for device, name in change.devices.items()]
        session.flush()
        acts = [act for act in done + moved if act]
        if acts:
            touched = {act[1] for act in acts if act[0] == "group.set"} | set(change.devices.values())
            groups.offer(session, only=touched)
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
        wanted = facts["release"]
        release = rollouts.find(session, wanted["product"], wanted["version"]) if wanted else None
        if (release.id if release else None) != group.release_id:
            if release is not None:
                what = f"{release.product} {release.version}"
                check_offered(what, any(target.withdrawn for target in release.targets))
            group.release_id, group.release = release.id if release else None, release
            changed["release"] = wanted and {**wanted, "sequence": release.sequence if release else None}
    if "settings" in facts and (facts["settings"] or {}) != (group.settings or {}):
        group.settings = changed["settings"] = facts["settings"] or {}
    return ("group.set", name, changed) if changed else None


def _move(session: Session, device: str, name: str) -> tuple[str, str, dict[str, Any]] | None:
    row = devices.find(session, device)
    if row is None:
        raise Problem(
            404, "no-such-device", f"there is no device {device[:64]}", "tidegate device list shows the devices"
        )
    if row.group == name:
        return None
    rollouts.find_group(session, name)
    before, row.group = row.group, name
    return ("device.move", row.id, {"group": name, "before": before})


def _invalid(detail: str) -> Problem:
    return Problem(400, "invalid-change", detail, "See docs/gitops.md")
