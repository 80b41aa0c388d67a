"""The messages of devices: birth, state, report, result and alarm (docs/wire.cddl), decoded, and encoded.

Every function takes the bytes of one MQTT message and gives a plain dict with names for numbers, fit for
JSON except that digests, nonces and counters are given as hex. A message that breaks the rules is
Refused; unknown labels are refused too, since both sides state one protocol version.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tidegate import names
from tidegate.errors import Refused
from tidegate.wire import cbor

MAX_SIZE = 4096
MAX_TEXT = 160  # bytes of a detail for people
MAX_PART = 1024  # bytes of text in one part of an answer
MAX_TRACE = 1000  # bytes of a crash's trace
MAX_PROOF = 512  # bytes of what a device signs with its own key
MAX_DATA = 16  # data components of one device

LWM2M_STATES = ("idle", "downloading", "downloaded", "updating")
LWM2M_RESULTS = (
    *("initial", "success", "no-space", "out-of-memory", "connection-lost", "integrity-failure"),
    *("unsupported-package", "invalid-uri", "update-failed", "unsupported-protocol", "cancelled", "deferred"),
)
PHASES = (
    *("offered", "fetching", "applying", "installed", "trial", "confirmed", "rolled-back", "refused"),
    *("failed", "current"),
)
WAITING = "waiting for the application"  # the detail of `applying`: installed, and the application not ready to restart
SUIT_REASONS = (
    *("ok", "cbor-parse", "cose-unsupported", "algorithm-unsupported", "unauthorised"),
    *("command-unsupported", "component-unsupported", "component-unauthorised", "parameter-unsupported"),
    *("severing-unsupported", "condition-failed", "operation-failed", "invoke-pending"),
)
RESULT_CODES = ("done", "failed", "refused", "running")

Field = tuple[str, Callable[[Any, str], Any]]


def birth(data: bytes) -> dict[str, Any]:
    """A device's birth: what it is and runs, and the nonce of this boot."""
    return _map(data, "birth", _BIRTH, required=frozenset(_BIRTH) - {12, 13, 14, 15})


def state(data: bytes) -> dict[str, Any]:
    """Whether the device is online; with LwM2M update state and result when it says them."""
    return _map(data, "state", _STATE, required=frozenset({1}))


def report(data: bytes) -> dict[str, Any]:
    """One step of an update: phase, sequence number, result and progress."""
    return _map(data, "report", _REPORT, required=frozenset({2, 4, -257, -258, -259}))


def result(data: bytes) -> dict[str, Any]:
    """The answer to a command, or a part of it (code running), tied to it by its cti."""
    found = _map(data, "result", _RESULT, required=frozenset({1, 2}))
    part = found.get("part")
    if found["code"] == "running":
        if part is None or not part["more"] or "text" not in found or len(found) != 4:
            raise _bad("result", "is a part, and must have its number and its text and no more")
    elif "text" in found or (part is not None and part["more"]):
        raise _bad("result", "is the end, and must not carry a part")
    return found


def alarm(data: bytes) -> dict[str, Any]:
    """An alarm for people: kind, reason, and how many like it were suppressed."""
    return _map(data, "alarm", _ALARM, required=frozenset({1, 2}))


def encode(what: str, **values: Any) -> bytes:
    """The message `what` ("birth", "state", "report", "result" or "alarm") of these values, as a device says it.

    Names are those that decoding gives; values are as on the wire (docs/wire.cddl): bytes, numbers, lists. None: left
    out. KeyError for a name that the message does not have.
    """
    labels = {name: label for label, (name, _) in _TABLES[what].items()}
    return cbor.dumps({labels[name]: value for name, value in values.items() if value is not None})


def phase_number(phase: str) -> int:
    """How a report says this phase of an update."""
    return PHASES.index(phase) + 1


def _map(data: bytes, what: str, fields: dict[int, Field], required: frozenset[int]) -> dict[str, Any]:
    value = cbor.loads(data, what, max_size=MAX_SIZE)
    if not isinstance(value, dict):
        raise _bad(what, "must be a map")
    missing = required - set(value)
    if missing:
        raise _bad(what, f"lacks {', '.join(fields[label][0] for label in sorted(missing))}")
    out = {}
    for label, item in value.items():
        if label not in fields:
            raise _bad(what, f"has the unknown label {label!r}")
        name, read = fields[label]
        out[name] = read(item, f"{what}'s {name}")
    return out


def _uint(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _bad(what, "must be a number from 0")
    return value


def _seconds(value: Any, what: str) -> int:
    if not 1 <= _uint(value, what) <= 0xFFFFFFFF:
        raise _bad(what, "must be seconds from 1 to 4294967295")
    return int(value)


def _bool(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise _bad(what, "must be true or false")
    return value


def _text(value: Any, what: str) -> str:
    return _long(MAX_TEXT)(value, what)


def _long(size: int, least: int = 0) -> Callable[[Any, str], str]:
    def read(value: Any, what: str) -> str:
        if not isinstance(value, str) or not least <= len(value.encode()) <= size:
            raise _bad(what, f"must be text of {least} to {size} bytes")
        return value

    return read


def _hex(size: int) -> Callable[[Any, str], str]:
    def read(value: Any, what: str) -> str:
        if not isinstance(value, bytes) or len(value) != size:
            raise _bad(what, f"must be {size} bytes")
        return value.hex()

    return read


def _named(names: tuple[str, ...], first: int = 0) -> Callable[[Any, str], str]:
    def read(value: Any, what: str) -> str:
        number = _uint(value, what)
        if not first <= number < first + len(names):
            raise _bad(what, f"has the unknown number {number}")
        return names[number - first]

    return read


def _lwm2m(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise _bad(what, "must be [state, result]")
    return {
        "state": _named(LWM2M_STATES)(value[0], what),
        "result": _named(LWM2M_RESULTS)(value[1], what),
        "numbers": value,
    }


def _verdict(value: Any, what: str) -> dict[str, Any]:
    if value is True:
        return {"ok": True}
    if not isinstance(value, dict) or set(value) != {5, 7}:
        raise _bad(what, "must be true or a code with a reason")
    if not isinstance(value[5], int) or isinstance(value[5], bool):
        raise _bad(what, "must have a whole number as code")
    return {"ok": False, "code": value[5], "reason": _named(SUIT_REASONS)(value[7], what)}


def _reference(value: Any, what: str) -> str:
    """The manifest's digest: SUIT_Reference without its uri, [[-16, sha256]]."""
    digest = value[0] if isinstance(value, list) and len(value) == 1 else None
    if not isinstance(digest, list) or len(digest) != 2 or digest[0] != -16:
        raise _bad(what, "must hold one SHA-256 digest")
    return _hex(32)(digest[1], what)


def _progress(value: Any, what: str) -> dict[str, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise _bad(what, "must be [done, total]")
    return {"done": _uint(value[0], what), "total": _uint(value[1], what)}


def _part(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise _bad(what, "must be [number, more]")
    return {"number": _uint(value[0], what), "more": _bool(value[1], what)}


def _name(value: Any, what: str) -> str:
    if not names.COMPONENT.fits(value):
        raise _bad(what, "must be the name of a data component")
    return value


def _held(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > MAX_DATA:
        raise _bad(what, f"must be a map of at most {MAX_DATA} data components")
    out = {}
    for name, entry in value.items():
        if not isinstance(entry, list) or len(entry) != 2:
            raise _bad(what, "must hold [sequence, digest] each")
        out[_name(name, what)] = {"sequence": _uint(entry[0], what), "digest": _hex(32)(entry[1], what)}
    return out


def _proof(value: Any, what: str) -> str:
    """A proof in hex; whoever needs it verifies it (`tidegate.wire.proofs`)."""
    if not isinstance(value, bytes) or not 0 < len(value) <= MAX_PROOF:
        raise _bad(what, f"must be 1 to {MAX_PROOF} bytes")
    return value.hex()


def _answer(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _bad(what, "must be a map of named values")
    return {key: plain(item) for key, item in value.items()}


def plain(value: Any) -> Any:
    """`value` with byte strings as hex and all keys as text, so that it can be printed as JSON."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _bad(what: str, why: str) -> Refused:
    return Refused("malformed", f"the {what} {why}")


_BIRTH: dict[int, Field] = {
    1: ("protocol", _uint),
    2: ("board", _text),
    3: ("product", _text),
    4: ("version", _text),
    5: ("sequence", _uint),
    6: ("digest", _hex(32)),
    7: ("nonce", _hex(8)),
    8: ("reset_cause", _text),
    9: ("trial", _bool),
    10: ("micropython", _text),
    11: ("trust_version", _uint),
    12: ("data", _held),
    13: ("settings", _hex(4)),
    14: ("hardware", _hex(8)),
    15: ("proof", _proof),
}
_STATE: dict[int, Field] = {
    1: ("online", _bool),
    2: ("update_state", _named(LWM2M_STATES)),
    3: ("update_result", _named(LWM2M_RESULTS)),
}
_REPORT: dict[int, Field] = {
    2: ("nonce", _hex(8)),
    4: ("verdict", _verdict),
    99: ("manifest", _reference),
    -257: ("lwm2m", _lwm2m),
    -258: ("phase", _named(PHASES, first=1)),
    -259: ("sequence", _uint),
    -260: ("detail", _text),
    -261: ("progress", _progress),
    -262: ("component", _name),
    -263: ("again", _seconds),
}
_RESULT: dict[int, Field] = {
    1: ("cti", _hex(8)),
    2: ("code", _named(RESULT_CODES)),
    3: ("answer", _answer),
    4: ("why", _text),
    5: ("part", _part),
    6: ("text", _long(MAX_PART, 1)),
    7: ("proof", _proof),
}
_ALARM: dict[int, Field] = {
    1: ("kind", _text),
    2: ("reason", _text),
    3: ("detail", _text),
    4: ("cti", _hex(8)),
    5: ("suppressed", _uint),
    6: ("trace", _long(MAX_TRACE)),
}
_TABLES = {"birth": _BIRTH, "state": _STATE, "report": _REPORT, "result": _RESULT, "alarm": _ALARM}
