"""The shapes of the server's answers: what every verb of the client relies on, checked before anything uses it.

A shape names the members that are read here and their types. An answer may have more: a newer server's members reach
`--json` as they are. `why_not` is called for every answer, by the name that the verb gives it.
"""

from __future__ import annotations

import functools
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tidegate.client.shapes import alarms, audit, commands, devices, releases, rollouts, telemetry, waves
from tidegate.client.shapes.terms import Map

MODULES = (devices, commands, alarms, telemetry, rollouts, waves, releases, audit)
_KINDS: dict[str, Any] = {"Map": Map, **{name: kind for module in MODULES for name, kind in vars(module).items()}}
MAX_WHY = 200  # characters of what is wrong with an answer
_WORDS = {"Field required": "is missing", "Input should be a valid dictionary": "must be an object"}


@functools.cache
def _adapter(shape: str) -> TypeAdapter[Any]:
    return TypeAdapter(_KINDS[shape])


def why_not(value: Any, shape: str) -> str | None:
    """What is wrong with `value` as an answer of this shape (the name of a class of MODULES); None if it fits."""
    try:
        _adapter(shape).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        what = _WORDS.get(first["msg"]) or first["msg"].replace("Input should be", "must be")
        return f"{_place(first['loc'])} {what}"[:MAX_WHY]
    return None


# Members that older servers do not have. They are None in every answer of the client.
_MAY_LACK: dict[str, tuple[str, ...]] = {
    "Device": ("name", "group", "online", "version", "nonce", "reset_cause", "born", "last_seen", "revoked"),
    "Command": ("opcode", "outcome", "why", "result", "ended"),
    "Alarm": ("time", "device", "reason", "detail", "acknowledged", "acknowledged_by", "note", "muted_until"),
    "Claim": ("device", "name", "expires"),
}
_ENTRIES = {"Devices": "Device", "Commands": "Command", "Alarms": "Alarm", "Claims": "Claim"}
_SAME = {"WholeDevice": "Device", "NewClaim": "Claim"}


def completed(value: Any, shape: str) -> Any:
    """A `value` of this shape with all members that it may lack."""
    if shape in _ENTRIES:
        name = shape.lower()
        return {**value, name: [completed(entry, _ENTRIES[shape]) for entry in value[name]]}
    if shape == "Asked":
        return {**value, "asked": value["asked"] and completed(value["asked"], "Command")}
    lacks = _MAY_LACK.get(_SAME.get(shape, shape))
    if lacks is None:
        return value
    value = {**value, **{name: None for name in lacks if name not in value}}
    if shape == "Command":
        value.setdefault("history", [])
    if shape == "WholeDevice":
        value["commands"] = [completed(one, "Command") for one in value.get("commands") or ()]
    return value


def _place(steps: tuple[int | str, ...]) -> str:
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return place.lstrip(".") or "it"
