"""Restarts by a command. The device answers first and is reset some seconds later.

A command carries the nonce of one boot, and is void after it. So nothing is signed for a device while it restarts, and
a command that restarts it is done with the device's next birth, not with its answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from tidegate.client.server import Server
from tidegate.commands.send import rounds
from tidegate.errors import TidegateError

# Longer than a device runs on before its reset (130 s). If it still sends under the same nonce so long after its
# answer, it did not restart.
MOST_S = 180


def is_announced(command: dict[str, Any]) -> bool:
    """Whether the device has announced its restart in the answer: to `reboot`, to `update.rollback`, or to an opcode of
    its application that answers {"reboot": true}."""
    answer = (command.get("result") or {}).get("answer") or {}
    return command.get("outcome") == "done" and answer.get("reboot") is True


def is_under_way(device: dict[str, Any], commands: Sequence[dict[str, Any]]) -> bool:
    """Whether the device announced a restart and has not come back; `commands` are its newest ones, or those of many
    devices."""
    if not device.get("nonce") or not device.get("born"):
        return False
    announced = [
        _seconds(one["ended"])
        for one in commands
        if one["device"] == device["id"] and is_announced(one) and one.get("nonce") in (None, device["nonce"])
    ]
    update = device.get("update") or {}
    if update.get("phase") == "installed" and update.get("at"):
        announced.append(update["at"] / 1000)
    began = max(announced, default=-math.inf)
    return began > _seconds(device["born"]) and _seconds(device["last_seen"]) <= began + MOST_S


def is_back(device: dict[str, Any], command: dict[str, Any]) -> bool:
    """Whether the device is online in a later boot than the one that executed `command`."""
    made_for = command.get("nonce")
    is_new = device["nonce"] != made_for if made_for else _seconds(device["born"]) > _seconds(command["ended"])
    return bool(device["online"] and is_new)


def facts(device: dict[str, Any], after_s: float) -> dict[str, Any]:
    """The facts of a device that came back after so many seconds."""
    return {"after_s": round(after_s, 1), **{name: device[name] for name in ("version", "nonce", "reset_cause")}}


def await_ready(api: Server, device_id: str, wait_s: float) -> dict[str, Any]:
    """The device as the server shows it, once no restart of it is under way. TidegateError if it is not back within
    `wait_s`."""
    for _ in rounds(wait_s):
        device = api.device(device_id)
        if not is_under_way(device, device["commands"]):
            return device
    raise not_back(device["id"])


def await_members_ready(api: Server, group: str, wait_s: float) -> tuple[list[dict[str, Any]], set[str]]:
    """(the devices of a group, the ids of those whose restart has not ended within `wait_s`)."""
    for _ in rounds(wait_s):
        members = [one for one in api.devices()["devices"] if one.get("group") == group and not one.get("revoked")]
        newest = api.commands(500, group=group)["commands"]
        away = {one["id"] for one in members if is_under_way(one, newest)}
        if not away:
            break
    return members, away


def await_back(
    api: Server,
    commands: Sequence[dict[str, Any]],
    wait_s: float,
    is_proven: Callable[[dict[str, Any]], bool] = lambda device: True,
) -> Iterator[dict[str, dict[str, Any]]]:
    """The devices that are back after these commands, by id, as they come; ends with the last one or after `wait_s`.

    is_proven: whether what the server shows of a device is that device's.
    """
    back: dict[str, dict[str, Any]] = {}
    for _ in rounds(wait_s):
        shown = [api.device(commands[0]["device"])] if len(commands) == 1 else api.devices()["devices"]
        devices = {one["id"]: one for one in shown}
        for command in commands:
            device = devices.get(command["device"])
            if device and device["id"] not in back and is_back(device, command) and is_proven(device):
                back[device["id"]] = device
        yield back
        if len(back) == len(commands):
            return


def not_back(device_id: str) -> TidegateError:
    return TidegateError(
        f"{device_id} restarts and is not back yet; a command for it must be signed after its next birth",
        f"Give it more time (--wait 60), or see how it is: tidegate device show {device_id}",
    )


def _seconds(time: str | None) -> float:
    """A time of the server's as seconds since 1970."""
    return -math.inf if time is None else datetime.fromisoformat(time).astimezone(UTC).timestamp()
