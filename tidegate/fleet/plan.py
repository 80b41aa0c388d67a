"""What has to change for a fleet to be as fleet.yaml says.

Groups live on the server, settings on the devices. Nothing is remembered between two runs: a plan compares the file
with what the server and the devices say now.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tidegate.client.server import Server
from tidegate.fleet.file import FleetFile, GroupSpec


@dataclass(frozen=True)
class Setting:
    """One device whose settings are not known to be as declared: {key: (what it has, what it should have)}.

    What it has is None where that is not known: then the value is set, which changes nothing if it is so already.
    """

    device: str
    group: str
    online: bool
    keys: dict[str, tuple[Any, Any]]

    @property
    def declared(self) -> dict[str, Any]:
        return {key: new for key, (_, new) in self.keys.items()}


@dataclass(frozen=True)
class Plan:
    """The changes to make. `seen` is the digest of the groups it was made for; `changes` is for people and programs;
    `listed` has each device that the file lists: what it is called there, the line, and the server's view of it."""

    seen: str
    groups: dict[str, dict[str, Any]]
    moves: dict[str, str]
    settings: list[Setting]
    changes: list[dict[str, Any]] = field(default_factory=list)
    listed: list[tuple[str, int, dict[str, Any]]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not self.changes and not self.settings


def make_plan(file: FleetFile, api: Server, product: str) -> Plan:
    """Compare `file` with the server and its devices; `product` is that of pinned releases, where the file names none.

    TidegateError if a group is to be pinned to a release that the server does not have.
    """
    view = api.groups()  # before the devices: one that moves meanwhile makes the plan void, not wrong
    devices = [device for device in api.devices()["devices"] if not device.get("revoked")]
    present = {group["name"]: group for group in view["groups"]}
    numbers = _sequences(file, api, file.product or product)
    groups: dict[str, dict[str, Any]] = {}
    changes: list[dict[str, Any]] = []
    for spec in file.groups.values():
        change = _group_change(spec, present.get(spec.name), file.product or product, numbers)
        if change or spec.name not in present:
            groups[spec.name] = change
            changes += _lines(spec.name, change, present.get(spec.name))
    moves = _moves(file, devices)
    homes = {device["id"]: device["group"] for device in devices}
    changes += [{"device": device, "what": "group", "from": homes[device], "to": to} for device, to in moves.items()]
    settings = []
    for device in devices:
        group = moves.get(device["id"], device["group"])
        declared = file.groups[group].settings if group in file.groups else None
        differing = _differing(device.get("settings"), declared)
        if differing:
            settings.append(Setting(device["id"], group, bool(device["online"]), differing))
    return Plan(view["digest"], groups, moves, settings, changes, _listed(file, devices))


def _sequences(file: FleetFile, api: Server, product: str) -> dict[str, int]:
    """The sequence number of each pinned release: a version may have been published again."""
    versions = {spec.release for spec in file.groups.values() if spec.release is not None}
    return {version: api.rollout(product, version)["sequence"] for version in sorted(versions)}


def _group_change(
    spec: GroupSpec, present: dict[str, Any] | None, product: str, numbers: dict[str, int]
) -> dict[str, Any]:
    """The members of the group that must change."""
    is_new = present is None
    now = present or {"channel": None, "release": None, "settings": {}}
    change: dict[str, Any] = {}
    if spec.channel is not None:
        if is_new or spec.channel != now["channel"]:
            change["channel"] = spec.channel
        if now["release"] is not None:
            change["release"] = None
    if spec.release is not None:
        pinned = now["release"] or {}
        if (pinned.get("product"), pinned.get("sequence")) != (product, numbers[spec.release]):
            change["release"] = {"product": product, "version": spec.release}
    if spec.settings is not None and spec.settings != now["settings"]:
        change["settings"] = spec.settings
    return change


def _lines(name: str, change: dict[str, Any], present: dict[str, Any] | None) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [] if present else [{"group": name, "what": "group", "from": None, "to": "new"}]
    for what, to in change.items():
        old = present[what] if present else None
        if what == "release":
            old, to = old and old["version"], to and to["version"]
        lines.append({"group": name, "what": what, "from": old, "to": to})
    return lines


def _moves(file: FleetFile, devices: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Device id -> the group it must move to."""
    known = _by_word(devices)
    homes: dict[str, str] = {}
    for spec in file.groups.values():
        for name, line in (spec.devices or {}).items():
            if name not in known:
                file.wrong(line, f"the server does not know a device {name}", "Register it first, or correct the name")
            device = known[name]["id"]
            if device in homes:
                file.wrong(line, f"{name} is device {device}, which is listed already, in group {homes[device]}", "")
            homes[device] = spec.name
    listing = {spec.name for spec in file.groups.values() if spec.devices is not None}
    for device in devices:
        if device["id"] not in homes and device["group"] in listing:
            homes[device["id"]] = "default"
    return {device: to for device, to in sorted(homes.items()) if known[device]["group"] != to}


def _listed(file: FleetFile, devices: Sequence[dict[str, Any]]) -> list[tuple[str, int, dict[str, Any]]]:
    known = _by_word(devices)
    return [(word, line, known[word]) for spec in file.groups.values() for word, line in (spec.devices or {}).items()]


def _by_word(devices: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Id or name -> device; an id comes before a name that looks like it."""
    named = {device["name"]: device for device in devices if device.get("name")}
    return {**named, **{device["id"]: device for device in devices}}


def _differing(has: dict[str, Any] | None, declared: dict[str, Any] | None) -> dict[str, tuple[Any, Any]]:
    """The declared keys whose values on the device differ or are not known."""
    if not declared:
        return {}
    if has is None:
        return {key: (None, value) for key, value in declared.items()}
    return {key: (has.get(key), value) for key, value in declared.items() if not _same(has.get(key), value)}


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal; numbers as far as a device with 32-bit floats can tell."""
    if isinstance(one, bool) or isinstance(other, bool) or not isinstance(one, (int, float)):
        return one == other
    return isinstance(other, (int, float)) and math.isclose(one, other, rel_tol=1e-5)
