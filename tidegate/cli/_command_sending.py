"""Sends the commands of `tidegate cmd`, shows how they proceed, and waits for their ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tidegate.cli import _command_output
from tidegate.cli._common import complain, emit, progress, say
from tidegate.client.server import Server
from tidegate.commands import evidence, restarts
from tidegate.commands.identity import Identities, NotProven
from tidegate.commands.send import POLL_S, Request, Sender, follow, follow_all, is_open, rounds
from tidegate.errors import TidegateError

INTERRUPTED = 130
_SIGNING_S = 5  # a member of a group that has just started is given so long to sign its birth
_NOTHING_SENT = "Stopped waiting. Nothing was sent."


def send_one(
    api: Server,
    sender: Sender,
    judge: Identities,
    device_id: str,
    request: Request,
    wait: float,
    as_json: bool,
    proof: Path | None = None,
) -> bool:
    """Send to one device and print what it answers; whether the command succeeded. proof: where the device's signed
    answer goes."""
    end = time.monotonic() + wait
    device = ready_device(api, judge, device_id, wait, as_json)
    command = sender.send(device, request)
    message = sender.messages[command["device"], command["cti"]]
    stream = _command_output.Stream(as_json)
    command = watch(api, command, left(end), stream)
    if wait and restarts.is_announced(command):
        [command] = _await_back(api, judge, [command], left(end), as_json)
    command["identity"] = {"id": device["id"], "signed_birth": device.get("birth_proof") is not None}
    emit(command, as_json, lambda value: _command_output.ended(value, stream.printed))
    if proof is not None and is_open(command):
        evidence.begin(proof, message)
        if not as_json:
            say(f"Its answer can be added: tidegate cmd show {command['cti']} --proof {proof}")
    elif proof is not None:
        evidence.keep(proof, evidence.of(message, command), judge.known)
        if not as_json:
            say(f"The answer is signed by {device['id']}; the evidence is in {proof}")
    return _is_good(command, wait)


def left(end: float) -> float:
    """Seconds until `end`, a time of time.monotonic()."""
    return max(0.0, end - time.monotonic())


def _is_good(command: dict[str, Any], wait: float) -> bool:
    """Whether a command succeeded, as far as it was waited for."""
    return (command.get("outcome") == "done" and command.get("back", True) is not None) or (
        wait == 0 and is_open(command)
    )


def ready_device(api: Server, judge: Identities, word: str, wait: float, quiet: bool) -> dict[str, Any]:
    """The device to sign for, judged, once no restart of it is under way and it has signed its birth, if it does so."""
    end = time.monotonic() + wait
    with _interruptible(lambda: _NOTHING_SENT):
        with progress(f"waiting for {word}", quiet=quiet):
            device = restarts.await_ready(api, word, wait)
        for _ in rounds(left(end)):
            try:
                judge.check(word, device)
                return device
            except NotProven as error:
                if left(end) <= 0:
                    raise
                late = error
            device = api.device(word)
    raise late


def confirm_members(
    group: str, opcode: str, members: list[dict[str, Any]], pinned: Pinned | None, yes: bool, as_json: bool
) -> None:
    """Show whom will be signed for, and ask where there is a terminal."""
    if as_json:
        return
    names = ", ".join(f"{one['name']} ({one['id']})" if one.get("name") else one["id"] for one in members)
    complain(f"{opcode} is signed for {len(members)} devices, which the server says are in {group}: {names}")
    if pinned is None and not yes and sys.stdin.isatty():
        click.confirm("Sign for these?", abort=True, err=True)


@dataclass(frozen=True)
class Pinned:
    """The members of a group by a fleet file: ids and names."""

    path: Path
    devices: frozenset[str]

    def check(self, member: dict[str, Any], judge: Identities) -> None:
        """TidegateError for a member that the file does not name."""
        if member["id"] in self.devices:
            return
        word = member.get("name")
        if word not in self.devices:
            raise TidegateError(f"{self.path} does not name {member['id']} in this group; nothing was signed for it")
        judge.check(str(word), member)


def _await_back(
    api: Server, judge: Identities, commands: list[dict[str, Any]], wait: float, quiet: bool
) -> list[dict[str, Any]]:
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
        for devices in restarts.await_back(api, leaving, wait, lambda device: _is_proven(judge, device)):
            for name in devices.keys() - back.keys():
                back[name] = restarts.facts(devices[name], time.monotonic() - start)
            tell(len(back), len(leaving), f"{len(back)} of {len(leaving)}")
    return [{**one, "back": back.get(one["device"])} if restarts.is_announced(one) else one for one in commands]


def _is_proven(judge: Identities, device: dict[str, Any]) -> bool:
    """Whether a device that seems to be back has signed its birth, if it does so."""
    try:
        judge.check(device["id"], device)
    except TidegateError:
        return False
    return True


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


def send_group(
    api: Server,
    sender: Sender,
    judge: Identities,
    group: str,
    request: Request,
    wait: float,
    as_json: bool,
    pinned: Pinned | None = None,
    yes: bool = False,
) -> bool:
    """Send to the members that are not restarting first, so that one that is holds up no other."""
    end = time.monotonic() + wait
    members, away = restarts.await_members_ready(api, group, 0)
    if not members:
        raise TidegateError(f"the group {group} has no devices", "`tidegate device list` shows the groups of devices")
    listed = {one["id"] for one in members}
    members, commands = _allowed(members, pinned, judge)
    confirm_members(group, request.opcode, members, pinned, yes, as_json)
    away &= {one["id"] for one in members}
    ready = [one for one in members if one["id"] not in away]
    commands += _send_to_members(api, sender, judge, group, ready, request, end, as_json)
    if away:
        with (
            _interruptible(lambda: _command_output.left_behind(commands)),
            progress(f"waiting for {group}", quiet=as_json),
        ):
            members, still = restarts.await_members_ready(api, group, left(end))
        ready = [one for one in members if one["id"] in (away & listed) - still]
        commands += _send_to_members(api, sender, judge, group, ready, request, end, as_json)
        commands += [_not_sent(name) for name in sorted(away & still)]
    if wait and any(restarts.is_announced(one) for one in commands):
        commands = _await_back(api, judge, commands, left(end), as_json)
    whole = [{**one, **api.command(one["cti"], one["device"])} if one.get("output_size") else one for one in commands]
    emit(
        {"group": group, "commands": whole},
        as_json,
        lambda value: _command_output.group(value["commands"], request.opcode),
    )
    return all(_is_good(one, wait) for one in whole)


def _allowed(
    members: list[dict[str, Any]], pinned: Pinned | None, judge: Identities
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(the members that may be signed for, what is wrong with the others, and with those that are not there)."""
    if pinned is None:
        return members, []
    good, bad = [], []
    for one in members:
        try:
            pinned.check(one, judge)
            good.append(one)
        except NotProven:
            good.append(one)  # its signature is checked again before anything is signed for it
        except TidegateError as error:
            bad.append({"device": one["id"], "error": error.message, "remedy": error.remedy})
    there = {one["id"] for one in members} | {one["name"] for one in members if one.get("name")}
    for word in sorted(pinned.devices - there):
        bad.append({"device": word, "error": f"{pinned.path} names it, and the server does not show it", "remedy": ""})
    return good, bad


def _signed_birth(api: Server, judge: Identities, member: dict[str, Any], end: float) -> dict[str, Any]:
    """A member once it has signed its birth, if it does so, or as it is at `end`; judged when it is signed for."""
    device = member
    while left(end) > 0:
        try:
            judge.check_member(device)
            break
        except NotProven:
            time.sleep(POLL_S)
            again = api.device(member["id"])
            device = again if again["id"] == member["id"] else member
        except TidegateError:
            break
    return device


def _send_to_members(
    api: Server,
    sender: Sender,
    judge: Identities,
    group: str,
    members: list[dict[str, Any]],
    request: Request,
    end: float,
    quiet: bool,
) -> list[dict[str, Any]]:
    """Sign for each, and follow all to their ends or until `end`."""
    members = [_signed_birth(api, judge, one, min(end, time.monotonic() + _SIGNING_S)) for one in members]
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
