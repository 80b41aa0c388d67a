"""Makes a fleet as fleet.yaml says.

Groups are changed on the server, all of them in one transaction that names the state it was planned for. Settings are
changed on the devices: each device that differs is sent one signed `config.set` with all its differing keys, which it
takes as a whole or not at all. A run that was cut off is finished by the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tidegate.client.server import Server
from tidegate.client.transport import ServerError
from tidegate.commands import restarts
from tidegate.commands.identity import Identities, NotProven
from tidegate.commands.send import Request, Sender, is_open
from tidegate.errors import TidegateError
from tidegate.fleet.file import FleetFile
from tidegate.fleet.plan import Plan, Setting, make_plan

OPCODE = "config.set"
_TRIES = 4

Progress = Callable[[int, int, str], None]


def check_names(file: FleetFile, made: Plan, judge: Identities) -> None:
    """TidegateError, with the line, if a device that is to be signed for is not the one that the file names."""
    signed = {one.device for one in made.settings}
    for word, line, device in made.listed:
        if device["id"] not in signed:
            continue
        try:
            judge.check(word, device)
        except NotProven:
            pass  # it is asked for again when something is signed for it
        except TidegateError as error:
            file.wrong(line, error.message, error.remedy)


def change_groups(file: FleetFile, api: Server, product: str, made: Plan) -> Plan:
    """Carry out the server's part of a plan in one transaction; returns the plan as it was carried out.

    If the groups were changed meanwhile, it plans again, and goes on if the changes are the same. Otherwise nothing is
    changed and TidegateError says so.
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
        again = make_plan(file, api, product)
        if again.changes != made.changes:
            break
        made = again
    raise TidegateError(
        "the groups were changed by somebody else meanwhile, and this would change other things than shown",
        "Nothing was changed. Look at `tidegate diff`, and apply again",
    )


@dataclass(frozen=True)
class Outcome:
    """What became of one device's settings. `state`: done, refused, failed or waiting; `why`: a sentence or None."""

    device: str
    state: str
    why: str | None = None


def change_settings(
    sender: Sender | None, settings: Sequence[Setting], wait_s: float, progress: Progress
) -> Iterator[Outcome]:
    """Change the settings of the devices that are online; yields what became of each, as it becomes known.

    Devices that are offline, or do not answer within `wait_s`, are `waiting`: the next run finishes them.
    """
    online = [one for one in settings if one.online]
    if online and sender is None:
        raise TidegateError(
            "settings of devices differ, and only signed commands change them", "Name the command key: --key FILE"
        )
    yield from (Outcome(one.device, "waiting", "it is not online") for one in settings if not one.online)
    if sender is None:
        return
    progress(0, len(online), "")
    requests = [(one.device, Request(OPCODE, one.declared)) for one in online]
    for done, command in enumerate(sender.send_and_follow(requests, wait_s, _reason_to_wait), 1):
        progress(done, len(online), command["device"])
        yield _outcome(command)


def _reason_to_wait(device: dict[str, Any]) -> str | None:
    if not device.get("nonce"):
        return "it has never connected"
    return "it restarts" if restarts.is_under_way(device, device["commands"]) else None


def _outcome(command: dict[str, Any]) -> Outcome:
    """What a command that was sent, or could not be, says of the device's settings."""
    device = command["device"]
    if "delayed" in command:
        return Outcome(device, "waiting", command["delayed"])
    if "error" in command:
        return Outcome(device, "refused", command["error"])
    outcome, result = command.get("outcome"), command.get("result") or {}
    if outcome is None and is_open(command):
        return Outcome(device, "waiting", "it has not answered in time")
    if outcome is None and command["state"] in ("expired", "cancelled"):
        return Outcome(device, "waiting", f"the command was {command['state']}")
    if outcome == "done":
        restart = (result.get("answer") or {}).get("restart")
        return Outcome(device, "done", "some of it takes effect at its next start" if restart else None)
    why = command.get("why") or result.get("why") or "no reason given"
    return Outcome(device, "failed" if outcome == "failed" else "refused", why)
