"""Commands and their answers as text, as `tidegate cmd` reads and prints them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click

from tidegate import json_text
from tidegate.cli._common import facts, rows, say, text
from tidegate.commands.send import is_open
from tidegate.errors import TidegateError
from tidegate.wire.opcode_roles import ROLES

_WAITS = {"pending": "waits for its signature to be checked", "verified": "waits for the device to be online"}
_BRIEF = 100  # characters of an answer in a table


def argument(word: str) -> tuple[str, Any]:
    """(name, value) of NAME=VALUE; the value is JSON, bytes after hex:, or text."""
    name, equals, value = word.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{word!r} is not NAME=VALUE", param_hint="argument")
    if value.startswith("hex:"):
        try:
            return name, bytes.fromhex(value[4:])
        except ValueError:
            raise click.BadParameter(f"{value!r} is not hex: and pairs of hex digits", param_hint=name) from None
    try:
        return name, json_text.loads(value)
    except json_text.NotJson:
        return name, value


class Stream:
    """Prints the output of a command as it grows. `printed`: how many characters of it are out."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.printed = 0

    def show(self, command: dict[str, Any]) -> None:
        output = command.get("output") or ""
        if not self.quiet and len(output) > self.printed:
            say(output[self.printed :], newline=False)
            self.printed = len(output)


def state(command: dict[str, Any]) -> str:
    """One word for the state of a command: its outcome once it has one."""
    return command.get("outcome") or command["state"]


def ended(command: dict[str, Any], printed: int) -> None:
    """How one command ended, after `printed` characters of its output."""
    output, opcode, device = command.get("output") or "", command["opcode"], command["device"]
    if output[printed:]:
        say(output[printed:].rstrip("\n"))
    elif printed and not output.endswith("\n"):
        say("")
    if command.get("missing_parts"):
        say(f"{len(command['missing_parts'])} parts of the output did not arrive.")
    if is_open(command):
        say(f"{opcode} {_WAITS.get(command['state'], 'is on its way')}: {device} has not answered.")
        say(f"Look again: tidegate cmd show {command['cti']}")
        if command["state"] != "uplinked":
            say(f"Withdraw it: tidegate cmd cancel {command['cti']}")
        else:  # what fails before the counter is checked is not answered, but raises an alarm (docs/commands.md)
            say("If the device refused it unanswered, it says why in: tidegate alarms list")
    elif command["outcome"] == "done":
        answer = (command["result"] or {}).get("answer")
        if answer or not output:
            facts(answer or {"answer": "done"}, title=f"{device} answers {opcode}", verbatim=_is_typed(opcode))
        if "back" in command:
            say(_returned(device, command["back"]))
    elif command["outcome"] == "failed":
        say(f"{device} failed at {opcode}: {command['why'] or 'no reason given'}")
    elif command["state"] == "refused":
        by = command["history"][-1]["by"].removeprefix("device ") if command["history"] else "nobody knows whom"
        say(f"{opcode} was refused by {by}: {command['why']}")
    else:
        say(f"{opcode} for {device} has {command['state']}: {command['why'] or 'no reason given'}")


def _is_typed(opcode: str) -> bool:
    """Whether people type the names in its answer: those of settings, for `config set`."""
    return opcode.startswith("config.")


def _returned(device: str, back: dict[str, Any] | None) -> str:
    """Whether a device came back after its restart, as `restarts.facts` has it."""
    if back is None:
        return f"{device} has not come back in time. Look again: tidegate device show {device}"
    return f"{device} is back after {back['after_s']:.0f} s with {back['version']} (reset: {back['reset_cause']})."


def not_awaited(devices: Iterable[str]) -> str:
    """What to do about devices whose restart is no longer waited for."""
    lines = [f"  {name}: tidegate device show {name}" for name in devices]
    return "\n".join([f"Stopped waiting. {len(lines)} device{'s' * (len(lines) != 1)} may still restart:", *lines])


def left_behind(commands: Sequence[dict[str, Any]]) -> str:
    """What to do about commands that are no longer waited for."""
    waiting = [command for command in commands if is_open(command)]
    lines = [f"Stopped waiting. {len(waiting)} command{'s' * (len(waiting) != 1)} may still be carried out:"]
    for command in waiting:
        lines.append(
            f"  {command['device']}: tidegate cmd show {command['cti']}   tidegate cmd cancel {command['cti']}"
        )
    return "\n".join(lines)


def group(commands: Sequence[dict[str, Any]], opcode: str) -> None:
    """A line for each device, then the output of those that printed some."""
    table = [
        {
            "device": one["device"],
            "state": "not sent" if "error" in one else state(one),
            "cti": one.get("cti"),
            "answer": brief(one),
        }
        for one in commands
    ]
    rows(table, {"device": "DEVICE", "state": "STATE", "cti": "CTI", "answer": opcode.upper()}, "Nothing was sent.")
    for one in commands:
        if one.get("output"):
            say(f"\n{one['device']}:")
            say(one["output"].rstrip("\n"))
    good = sum(one.get("outcome") == "done" for one in commands)
    say(f"\n{good} of {len(commands)} done.")


def brief(command: dict[str, Any]) -> str:
    """The answer in one line, or the reason without one."""
    if "error" in command:
        return command["error"]
    if command["outcome"] == "done":
        answer = (command["result"] or {}).get("answer") or {}
        line = ", ".join(f"{name}={text(value)}" for name, value in answer.items())
        if command.get("output_size"):
            line = f"{command['output_size']} bytes of output" + (f", {line}" if line else "")
        if "back" in command:
            back = command["back"]
            line += ", not back in time" if back is None else f", back after {back['after_s']:.0f} s"
        line = " ".join((line or "done").split())
        return line if len(line) <= _BRIEF else line[: _BRIEF - 1] + "…"
    if is_open(command):
        return _WAITS.get(command["state"], "has not answered")
    return command["why"] or ""


def line(command: dict[str, Any]) -> dict[str, Any]:
    """One command among many facts."""
    way = " → ".join(step["state"] for step in command["history"])
    return {"cti": command["cti"], "opcode": command["opcode"], "way": way, "answer": brief(command)}


def listed(commands: Sequence[dict[str, Any]]) -> None:
    columns = {
        "cti": "CTI",
        "device": "DEVICE",
        "opcode": "OPCODE",
        "state": "STATE",
        "outcome": "OUTCOME",
        "created": "CREATED",
        "answer": "ANSWER",
    }
    rows([{**one, "answer": brief(one)} for one in commands], columns, "No command was sent.")


def whole(command: dict[str, Any]) -> None:
    """One command with its history and its answer."""
    names = ("device", "opcode", "arguments", "state", "outcome", "role", "kids", "created", "expires", "why")
    facts({name: command[name] for name in names if command.get(name) is not None}, title=f"Command {command['cti']}")
    say("")
    rows(command["history"], {"at": "WHEN", "state": "STATE", "by": "BY", "why": "WHY"}, "It has no history.")
    if command.get("output") is not None:
        say("\nOutput:")
        say(command["output"].rstrip("\n"))
    answer = (command["result"] or {}).get("answer")
    if answer:
        say("")
        facts(answer, title="Answer", verbatim=_is_typed(command["opcode"]))


def offered(command: dict[str, Any]) -> dict[str, Any]:
    """{opcode: [role, limit in s, heavy, {argument: [type, least, most, default]}]} in an answer to `ops`. What is
    too long for one message comes in parts: a JSON object a line."""
    found = dict((command["result"] or {}).get("answer") or {})
    try:
        for line in (command.get("output") or "").splitlines():
            found.update(_line_of_opcodes(line))
        return {name: entry for name, entry in sorted(found.items()) if isinstance(entry, list) and _is_offer(entry)}
    except ValueError as error:
        raise TidegateError(
            f"the answer of {command['device']} to ops cannot be read: it {error}",
            f"Look at it: tidegate cmd show {command['cti']}",
        ) from None


def _line_of_opcodes(line: str) -> dict[str, Any]:
    found = json_text.loads(line)
    if not isinstance(found, dict):
        raise ValueError("is not a JSON object in each line")
    return found


def _is_offer(entry: list[Any]) -> bool:
    """Whether this is [role, limit in s, heavy, {argument: [type, ...]}]; a newer agent may offer in other ways."""
    if len(entry) != 4 or not isinstance(entry[0], (int, str)) or not isinstance(entry[3], dict):
        return False
    return all(
        isinstance(spec, list) and (len(spec) in (3, 4) or len(spec) in (1, 2) and spec[0] == "bool" or name == "*")
        for name, spec in entry[3].items()
    )


def opcodes(value: dict[str, Any]) -> None:
    if value["source"] == "server":
        say(f"What {value['device']} answered on {value['at']}, from the server's copy:\n")
    lines = [
        {
            "opcode": name,
            "role": ROLES.get(role, role),
            "limit": f"{limit} s" + (", heavy" if heavy else ""),
            "arguments": "  ".join(_spec(argument, spec) for argument, spec in sorted(arguments.items())),
        }
        for name, (role, limit, heavy, arguments) in value["opcodes"].items()
    ]
    columns = {"opcode": "OPCODE", "role": "NEEDS", "limit": "WITHIN", "arguments": "ARGUMENTS"}
    rows(lines, columns, f"{value['device']} offers nothing.")


def _spec(name: str, spec: Sequence[Any]) -> str:
    """One argument as people must give it: percent=0..100, text=str 1..8, [n=20]."""
    kind, bounds = spec[0], spec[1:]
    if name == "*":
        return "NAME=VALUE..."
    if kind == "bool":
        return f"[{name}={text(bounds[0])}]" if bounds else f"{name}=true|false"
    allowed = f"{bounds[0]}..{bounds[1]}" if kind in ("int", "float") else f"{kind} of {bounds[0]} to {bounds[1]}"
    return f"[{name}={json.dumps(bounds[2])}: {allowed}]" if len(bounds) == 3 else f"{name}={allowed}"
