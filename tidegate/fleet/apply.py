"""What has to change for a fleet to be as fleet.yaml says, and how it is brought there.

Groups live on the server and are changed there, all of them in one transaction that names the state it was planned
for. Settings live on the devices: each device that differs is sent one signed `config.set` with all its differing keys,
which it takes as a whole or not at all. Nothing is remembered between two runs, so a run that was cut off is finished
by the next.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidegate.client import Server, ServerError
from tidegate.commands import cwt as commands
from tidegate.commands import restarts
from tidegate.errors import TidegateError
from tidegate.fleet.file import FleetFile, GroupSpec
from tidegate.trust.keys import Key

OPCODE = "config.set"
AT_ONCE = 32  # commands on their way at a time
LIFETIME = 300  # s a device with a clock has to take it
_TRIES = 4
_POLL = 0.3  # s, grows to a second
_OPEN = ("pending", "verified", "uplinked")

Tell = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Setting:
    """One device whose settings are not known to be as declared: {key: (what it has, what it should have)}.

    What it has is None where it is not known: then it is set, which does nothing where it is so already.
    """

    device: str
    group: str
    online: bool
    keys: dict[str, tuple[Any, Any]]

    @property
    def wanted(self) -> dict[str, Any]:
        return {key: new for key, (_, new) in self.keys.items()}


@dataclass(frozen=True)
class Plan:
    """`seen` is the state of the groups it was made for; `changes` are lines for people and programs."""

    seen: str
    groups: dict[str, dict[str, Any]]
    moves: dict[str, str]
    settings: list[Setting]
    changes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not self.changes and not self.settings


def plan(file: FleetFile, api: Server, product: str) -> Plan:
    """What is different from `file` now; `product` is that of pinned releases, where the file names none.

    TidegateError if a group is to be pinned to a release that the server does not have.
    """
    view = api.groups()  # before the devices: a device that moves meanwhile makes the plan void, not wrong
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
    return Plan(view["digest"], groups, moves, settings, changes)


def change_groups(file: FleetFile, api: Server, product: str, made: Plan) -> Plan:
    """Carry out the server's part of a plan in one transaction; the plan as it was carried out.

    If the groups were changed meanwhile it is planned anew; where that comes to the same changes it goes on, else
    nothing is changed and TidegateError says so.
    """
    for _ in range(_TRIES):
        if not made.changes:
            return made
        try:
            api.change_groups(made.seen, made.groups, made.moves)
            return made
        except ServerError as error:
            if error.status != 409:
                raise
        again = plan(file, api, product)
        if again.changes != made.changes:
            break
        made = again
    raise TidegateError(
        "the groups were changed by somebody else meanwhile, and this would change other things than shown",
        "Nothing was changed. Look at `tidegate diff`, and apply again",
    )


@dataclass
class Sent:
    """A command on its way; `state` ends as done, refused, failed or waiting."""

    device: str
    cti: str
    deadline: float
    state: str = "open"
    why: str | None = None


def send(
    api: Server,
    settings: Sequence[Setting],
    signers: Sequence[Key],
    key_files: Sequence[Path],
    wait_s: float,
    tell: Tell,
) -> Iterator[Sent]:
    """Set what is to be set on the devices that are there; what became of each, as it becomes known.

    Devices that are not there, or go, or do not answer within `wait_s`, are `waiting`: the next run finishes them.
    """
    ready = [one for one in settings if one.online]
    if ready and not signers:
        raise TidegateError(
            "settings of devices differ, and they are made by signed commands", "Name the command key: --key FILE"
        )
    open_: list[Sent] = []
    done = 0
    for one in settings:
        if not one.online:
            yield Sent(one.device, "", 0, "waiting", "it is not online")
    pause = _POLL
    while ready or open_:
        while ready and len(open_) < AT_ONCE:
            one = ready.pop(0)
            tell(done, done + len(open_) + len(ready) + 1, one.device)
            sent = _send_one(api, one, signers, key_files, wait_s)
            open_.append(sent)
            pause = _POLL
        for sent in open_:
            if sent.state == "open":
                _look(api, sent)
        for sent in [sent for sent in open_ if sent.state != "open"]:
            open_.remove(sent)
            done += 1
            tell(done, done + len(open_) + len(ready), sent.device)
            yield sent
        if open_:
            time.sleep(pause)
            pause = min(pause * 1.3, 1.0)


def _send_one(api: Server, one: Setting, signers: Sequence[Key], key_files: Sequence[Path], wait_s: float) -> Sent:
    device = api.device(one.device)  # as it is now: it may have booted since the plan was made
    if restarts.is_under_way(device, device["commands"]):
        return Sent(one.device, "", 0, "waiting", "it restarts")
    nonce = device.get("nonce")
    now = int(time.time())
    request = commands.Command(
        audience=one.device,
        opcode=OPCODE,
        arguments=one.wanted,
        cti=max(commands.next_counter(file) for file in key_files),
        issued=now,
        expires=now + LIFETIME,
        nonce=bytes.fromhex(nonce) if nonce else None,
    )
    sent = Sent(one.device, request.cti.hex(), time.monotonic() + wait_s)
    try:
        api.send_command(one.device, commands.make(signers, request))
    except ServerError as error:
        if error.status in (0, 401, 403):
            raise
        sent.state, sent.why = "refused", error.message
    return sent


def _look(api: Server, sent: Sent) -> None:
    """See how a command stands, and end waiting for it when it is time."""
    answer = api.command(sent.cti, sent.device)
    outcome = answer.get("outcome")
    if outcome is None and answer["state"] in _OPEN:
        if time.monotonic() >= sent.deadline:
            sent.state, sent.why = "waiting", "it has not answered in time"
        return
    if outcome == "done":
        sent.state = "done"
        if ((answer.get("result") or {}).get("answer") or {}).get("restart"):
            sent.why = "some of it counts from its next start on"
    elif outcome is None and answer["state"] in ("expired", "cancelled"):
        sent.state, sent.why = "waiting", f"the command was {answer['state']}"
    else:
        sent.state = "failed" if outcome == "failed" else "refused"
        sent.why = answer.get("why") or (answer.get("result") or {}).get("why") or "no reason given"


# ---------------------------------------------------------------- what is different


def _sequences(file: FleetFile, api: Server, product: str) -> dict[str, int]:
    """The sequence number of each release that a group is to be pinned to: a version may have been published again."""
    versions = {spec.release for spec in file.groups.values() if spec.release is not None}
    return {version: api.rollout(product, version)["sequence"] for version in sorted(versions)}


def _group_change(
    spec: GroupSpec, present: dict[str, Any] | None, product: str, numbers: dict[str, int]
) -> dict[str, Any]:
    """The members of the group to change."""
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
    """Device id -> the group it is to come into."""
    known = {device["id"]: device for device in devices}
    known |= {device["name"]: device for device in devices if device.get("name")}
    wanted: dict[str, str] = {}
    for spec in file.groups.values():
        for name, line in (spec.devices or {}).items():
            if name not in known:
                file.wrong(line, f"the server knows no device {name}", "Register it first, or correct the name")
            device = known[name]["id"]
            if device in wanted:
                file.wrong(line, f"{name} is device {device}, which is listed before, in group {wanted[device]}", "")
            wanted[device] = spec.name
    listing = {spec.name for spec in file.groups.values() if spec.devices is not None}
    for device in devices:
        if device["id"] not in wanted and device["group"] in listing:
            wanted[device["id"]] = "default"
    return {device: to for device, to in sorted(wanted.items()) if known[device]["group"] != to}


def _differing(has: dict[str, Any] | None, declared: dict[str, Any] | None) -> dict[str, tuple[Any, Any]]:
    """The declared keys that the device has other values for, or is not known to have these."""
    if not declared:
        return {}
    if has is None:
        return {key: (None, value) for key, value in declared.items()}
    return {key: (has.get(key), value) for key, value in declared.items() if not _same(has.get(key), value)}


def _same(one: Any, other: Any) -> bool:
    """Numbers are the same as closely as a device, which has floats of 32 bits, can tell."""
    if isinstance(one, bool) or isinstance(other, bool) or not isinstance(one, (int, float)):
        return one == other
    return isinstance(other, (int, float)) and math.isclose(one, other, rel_tol=1e-5)
