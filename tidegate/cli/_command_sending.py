"""Sends the commands of `tidegate cmd`, shows how they proceed, and waits for their ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tidegate.cli import _command_output
from tidegate.cli._common import complain, emit, progress
from tidegate.client import Server
from tidegate.commands import restarts
from tidegate.commands.send import Request, Sender, follow, follow_all, is_open
from tidegate.errors import TidegateError

INTERRUPTED = 130
_NOTHING_SENT = "Stopped waiting. Nothing was sent."


def send_one(api: Server, sender: Sender, device_id: str, request: Request, wait: float, as_json: bool) -> bool:
    """Send to one device and print what it answers; whether the command succeeded."""
    end = time.monotonic() + wait
    command = sender.send(ready_device(api, device_id, wait, as_json), request)
    stream = _command_output.Stream(as_json)
    command = watch(api, command, left(end), stream)
    if wait and restarts.is_announced(command):
        [command] = _await_back(api, [command], left(end), as_json)
    emit(command, as_json, lambda value: _command_output.ended(value, stream.printed))
    return _is_good(command, wait)


def left(end: float) -> float:
    """Seconds until `end`, a time of time.monotonic()."""
    return max(0.0, end - time.monotonic())


def _is_good(command: dict[str, Any], wait: float) -> bool:
    """Whether a command succeeded, as far as it was waited for."""
    return (command.get("outcome") == "done" and command.get("back", True) is not None) or (
        wait == 0 and is_open(command)
    )


def ready_device(api: Server, device_id: str, wait: float, quiet: bool) -> dict[str, Any]:
    """The device to sign for, once no restart of it is under way."""
    with _interruptible(lambda: _NOTHING_SENT), progress(f"waiting for {device_id}", quiet=quiet):
        return restarts.await_ready(api, device_id, wait)


def _await_back(api: Server, commands: list[dict[str, Any]], wait: float, quiet: bool) -> list[dict[str, Any]]:
    """Wait for devices that restart; the commands, where they do with "back": facts of the device, or None."""
    leaving = [one for one in commands if restarts.is_announced(one)]
    back: dict[str, dict[str, Any]] = {}
    start = time.monotonic()
    with (
        _interruptible(
            lambda: _command_output.not_awaited(one["device"] for one in leaving if one["device"] not in back)
        ),
        progress("waiting for the restart", quiet=quiet) as tell,
    ):
        for devices in restarts.await_back(api, leaving, wait):
            for name in devices.keys() - back.keys():
                back[name] = restarts.facts(devices[name], time.monotonic() - start)
            tell(len(back), len(leaving), f"{len(back)} of {len(leaving)}")
    return [{**one, "back": back.get(one["device"])} if restarts.is_announced(one) else one for one in commands]


def watch(api: Server, command: dict[str, Any], wait: float, stream: _command_output.Stream) -> dict[str, Any]:
    """Follow one command to its end or for `wait` seconds, and print its output as it arrives; its last state."""
    steps, start = follow(api, command, wait), time.monotonic()
    with _interruptible(lambda: _command_output.left_behind([command])):
        with progress(f"waiting for {command['device']}", quiet=stream.quiet) as tell:
            for command in steps:
                tell(int((time.monotonic() - start) * 10), max(1, int(wait * 10)), command["state"])
                if command.get("output"):
                    break  # no bar between the lines of an answer
        stream.show(command)
        for command in steps:
            stream.show(command)
    return command


def send_group(api: Server, sender: Sender, group: str, request: Request, wait: float, as_json: bool) -> bool:
    """Send to the members that are not restarting first, so that one that is holds up no other."""
    end = time.monotonic() + wait
    members, away = restarts.await_members_ready(api, group, 0)
    if not members:
        raise TidegateError(f"the group {group} has no devices", "`tidegate device list` shows the groups of devices")
    ready = [one for one in members if one["id"] not in away]
    commands = _send_to_members(api, sender, group, ready, request, end, as_json)
    if away:
        with (
            _interruptible(lambda: _command_output.left_behind(commands)),
            progress(f"waiting for {group}", quiet=as_json),
        ):
            members, still = restarts.await_members_ready(api, group, left(end))
        ready = [one for one in members if one["id"] in away - still]
        commands += _send_to_members(api, sender, group, ready, request, end, as_json)
        commands += [_not_sent(name) for name in sorted(away & still)]
    if wait and any(restarts.is_announced(one) for one in commands):
        commands = _await_back(api, commands, left(end), as_json)
    whole = [{**one, **api.command(one["cti"], one["device"])} if one.get("output_size") else one for one in commands]
    emit(
        {"group": group, "commands": whole},
        as_json,
        lambda value: _command_output.group(value["commands"], request.opcode),
    )
    return all(_is_good(one, wait) for one in whole)


def _send_to_members(
    api: Server,
    sender: Sender,
    group: str,
    members: list[dict[str, Any]],
    request: Request,
    end: float,
    quiet: bool,
) -> list[dict[str, Any]]:
    """Sign for each, and follow all to their ends or until `end`."""
    with progress(f"signing for {group}", quiet=quiet) as tell:
        commands = sender.send_all(members, request, lambda done: tell(done, len(members), members[done]["id"]))
    with (
        _interruptible(lambda: _command_output.left_behind(commands)),
        progress(f"waiting for {group}", quiet=quiet) as tell,
    ):
        for commands in follow_all(api, commands, group, left(end)):  # noqa: B020
            ended = sum(not is_open(one) for one in commands)
            tell(ended, len(commands), f"{ended} of {len(commands)}")
    return commands


def _not_sent(device_id: str) -> dict[str, Any]:
    error = restarts.not_back(device_id)
    return {"device": device_id, "error": error.message, "remedy": error.remedy}


@contextmanager
def _interruptible(goodbye: Callable[[], str]) -> Iterator[None]:
    """Ctrl-C stops the waiting, not what was sent; `goodbye` gives the state of things and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        complain("\n" + goodbye())
        sys.exit(INTERRUPTED)
