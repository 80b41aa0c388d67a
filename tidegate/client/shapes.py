"""The shapes of the server's answers: what every verb of the client relies on, checked before anything uses it.

A shape names the members that are read here and their types. An answer may have more: a newer server's members reach
`--json` as they are. `check` is called for every answer, by the name that the verb gives it.
"""

from __future__ import annotations

import base64
import binascii
import functools
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config

# Not typing's: pydantic needs this one before Python 3.12.
from typing_extensions import TypedDict

MAX_WHY = 200  # characters of what is wrong with an answer
_WORDS = {"Field required": "is missing", "Input should be a valid dictionary": "must be an object"}
_REST = ConfigDict(strict=True, extra="allow")


def _time(text: str) -> str:
    found = datetime.fromisoformat(text)  # ValueError, which pydantic reports
    if found.tzinfo is None:
        raise ValueError("has no time zone")
    try:
        found.astimezone(UTC)
    except OverflowError:
        raise ValueError("is before the year 1 or after 9999") from None
    return text


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None
    return text


Text = str | None
Id = Annotated[str, Field(pattern=r"^[!-~]{1,64}$")]  # what stands in a path of the next request
Hex = Annotated[str, Field(pattern=r"^(?:[0-9a-f]{2}){1,64}$")]
Proof = Annotated[str, Field(pattern=r"^(?:[0-9a-f]{2}){1,512}$")]
Cti = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Time = Annotated[str, AfterValidator(_time)]
Count = Annotated[int, Field(ge=0)]
Sequence = Annotated[int, Field(ge=0, lt=2**53)]
Base64 = Annotated[str, AfterValidator(_base64)]
Map = dict[str, Any]


# ---------------------------------------------------------------- devices


@with_config(_REST)
class Update(TypedDict):
    phase: NotRequired[Text]
    at: NotRequired[float | None]


@with_config(_REST)
class Named(TypedDict):
    """A release as something refers to it."""

    version: str
    state: NotRequired[Text]


@with_config(_REST)
class Trust(TypedDict):
    version: NotRequired[int | None]
    state: NotRequired[Text]


@with_config(_REST)
class Device(TypedDict):
    id: Id
    name: NotRequired[Text]
    board: NotRequired[Text]
    group: NotRequired[Text]
    protocol: NotRequired[Text]
    online: NotRequired[bool | None]
    revoked: NotRequired[Time | None]
    cloned: NotRequired[Time | None]
    version: NotRequired[Text]
    nonce: NotRequired[Hex | None]
    birth_proof: NotRequired[Proof | None]
    reset_cause: NotRequired[Text]
    born: NotRequired[Time | None]
    last_seen: NotRequired[Time | None]
    settings: NotRequired[Map | None]
    update: NotRequired[Update | None]
    offer: NotRequired[Named | None]
    trust: NotRequired[Trust | None]


@with_config(_REST)
class Devices(TypedDict):
    devices: list[Device]


@with_config(_REST)
class Account(TypedDict):
    user: str
    password: str


@with_config(_REST)
class Key(TypedDict):
    key: Hex


@with_config(_REST)
class NewDevice(TypedDict):
    id: Id
    mqtt: Account
    coap: Key


@with_config(_REST)
class NewDevices(TypedDict):
    devices: list[NewDevice]
    known: list[Id]


@with_config(_REST)
class Claim(TypedDict):
    id: Id
    device: NotRequired[Text]
    name: NotRequired[Text]
    expires: NotRequired[Text]


@with_config(_REST)
class NewClaim(Claim):
    claim: str


@with_config(_REST)
class Claims(TypedDict):
    claims: list[Claim]


@with_config(_REST)
class RevokedClaim(TypedDict):
    id: Id


# ---------------------------------------------------------------- commands


@with_config(_REST)
class Step(TypedDict):
    state: str
    by: str
    at: NotRequired[Text]
    why: NotRequired[Text]


@with_config(_REST)
class Result(TypedDict):
    answer: NotRequired[Map | None]
    why: NotRequired[Text]


@with_config(_REST)
class Command(TypedDict):
    cti: Cti
    device: Id
    state: str
    opcode: NotRequired[Text]
    outcome: NotRequired[Text]
    why: NotRequired[Text]
    result: NotRequired[Result | None]
    history: NotRequired[list[Step]]
    nonce: NotRequired[Hex | None]
    ended: NotRequired[Time | None]
    output: NotRequired[Text]
    output_size: NotRequired[Count | None]
    missing_parts: NotRequired[list[int] | None]


@with_config(_REST)
class Commands(TypedDict):
    commands: list[Command]


@with_config(_REST)
class Asked(TypedDict):
    asked: Command | None


@with_config(_REST)
class Alarm(TypedDict):
    id: Count
    kind: str
    time: NotRequired[Text]
    device: NotRequired[Text]
    reason: NotRequired[Text]
    detail: NotRequired[Text]
    trace: NotRequired[Text]
    acknowledged: NotRequired[Text]
    acknowledged_by: NotRequired[Text]
    note: NotRequired[Text]
    muted_until: NotRequired[Text]


@with_config(_REST)
class Alarms(TypedDict):
    alarms: list[Alarm]


@with_config(_REST)
class Acknowledged(TypedDict):
    acknowledged: list[Count]


@with_config(_REST)
class AlarmMute(TypedDict):
    id: Count
    kind: str
    until: str
    device: Text
    by: str
    why: Text


@with_config(_REST)
class AlarmMutes(TypedDict):
    mutes: list[AlarmMute]


@with_config(_REST)
class WholeDevice(Device):
    commands: NotRequired[list[Command] | None]


# ---------------------------------------------------------------- telemetry


@with_config(_REST)
class Measure(TypedDict):
    stream: str
    name: str
    value: Any
    at: Text
    unit: Text


@with_config(_REST)
class Point(Measure):
    id: Count


@with_config(_REST)
class Telemetry(TypedDict):
    telemetry: list[Point]
    next: Annotated[str, Field(pattern=r"^[!-~]{1,64}$")] | None


@with_config(_REST)
class Stream(TypedDict):
    stream: str


@with_config(_REST)
class LastTelemetry(TypedDict):
    last: list[Measure]
    streams: list[Stream]


@with_config(_REST)
class Reports(TypedDict):
    reports: list[Map]


@with_config(_REST)
class Happened(TypedDict):
    id: Id
    at: Time
    kind: str
    text: str
    body: Map


Place = Annotated[str, Field(pattern=r"^[!-~]{1,128}$")]


@with_config(_REST)
class Timeline(TypedDict):
    timeline: list[Happened]
    since: Place | None
    before: Place | None
    silent_since: NotRequired[Time | None]


# ---------------------------------------------------------------- groups, releases, rollouts


@with_config(_REST)
class Pinned(TypedDict):
    product: str
    version: str
    sequence: NotRequired[Sequence]


@with_config(_REST)
class Group(TypedDict):
    name: str
    channel: str
    release: Pinned | None
    settings: Map
    devices: Count


@with_config(_REST)
class Groups(TypedDict):
    digest: str
    groups: list[Group]


class Counts(TypedDict):
    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")  # type: ignore[misc]
    waiting: Count
    offered: Count
    running: Count
    retrying: NotRequired[Count]  # older servers do not count it
    failed: Count
    none: Count


@with_config(_REST)
class Fate(TypedDict):
    """Devices that are alike, and what they would get."""

    board: str
    group: str
    version: Text
    devices: Count
    gets: Literal["patch", "image", "nothing", "unknown"]
    bytes: Count | None
    why: Text
    ids: NotRequired[list[str]]


@with_config(_REST)
class RolloutPlan(TypedDict):
    devices: list[Fate]


@with_config(_REST)
class ReleasePlan(RolloutPlan):
    missing: list[Digest]
    published: bool


@with_config(_REST)
class RolloutDevice(TypedDict):
    id: Id
    state: str


@with_config(_REST)
class ListedRollout(TypedDict):
    product: str
    version: str
    sequence: Sequence
    channels: list[str]
    groups: list[str]
    counts: Counts


@with_config(_REST)
class Rollouts(TypedDict):
    rollouts: list[ListedRollout]


@with_config(_REST)
class Rollout(ListedRollout):
    devices: list[RolloutDevice]
    next: NotRequired[str | None]  # what the next page comes after


@with_config(_REST)
class ChangedRollout(ListedRollout):
    started: NotRequired[bool]
    stopped: NotRequired[bool]
    retried: NotRequired[list[Id]]


@with_config(_REST)
class Labels(TypedDict):
    id: Id
    labels: dict[str, str]


class Wave(TypedDict):
    __pydantic_config__ = _REST  # type: ignore[misc]
    wave: Count
    size: str
    open: bool
    counts: dict[str, Count]


@with_config(_REST)
class Evidence(TypedDict):
    text: str


@with_config(_REST)
class WavesTerms(TypedDict):
    to: str
    max_failures: str


@with_config(_REST)
class Waves(TypedDict):
    """A rollout in waves."""

    product: str
    version: str
    sequence: Sequence
    state: str
    why: str
    wave: Count
    terms: WavesTerms
    waves: list[Wave]
    counts: dict[str, Count]
    failed: Count
    sample: Count
    health: list[Evidence]
    started: NotRequired[bool]


@with_config(_REST)
class RetriedWaves(Waves):
    retried: list[Id]


@with_config(_REST)
class Budget(TypedDict):
    """An error budget, and how it stands."""

    product: str
    slo: str
    failed: Count
    ended: Count
    spent: bool
    frozen: bool
    lifted_until: Text
    why: str


@with_config(_REST)
class Budgets(TypedDict):
    budgets: list[Budget]


@with_config(_REST)
class BudgetAnswer(TypedDict):
    budget: Budget | None


@with_config(_REST)
class WavesLine(TypedDict):
    product: str
    version: str
    sequence: Sequence
    to: str
    wave: Count
    waves: Count
    state: str
    why: str


@with_config(_REST)
class ListedWaves(TypedDict):
    rollouts: list[WavesLine]


@with_config(_REST)
class PlannedWave(TypedDict):
    wave: Annotated[int, Field(ge=1)]
    size: str
    devices: Count


@with_config(_REST)
class WaveRow(TypedDict):
    """Devices of one wave that are alike, and what they would get."""

    wave: Annotated[int, Field(ge=1)]
    board: str
    version: Text
    devices: Count
    gets: Literal["patch", "image", "data", "trust", "unknown"]
    bytes: Count | None
    ids: NotRequired[list[str]]
    through: NotRequired[list[str]]


def _rows_are_of_waves(plan: Any) -> Any:
    if any(row["wave"] > len(plan["waves"]) for row in plan["rows"]):
        raise ValueError("has a row of a wave that is not there")
    return plan


@with_config(_REST)
class _WavesPlan(TypedDict):
    waves: list[PlannedWave]
    rows: list[WaveRow]
    excused: dict[str, Count]
    beyond: Count


WavesPlan = Annotated[_WavesPlan, AfterValidator(_rows_are_of_waves)]


@with_config(_REST)
class WavesDevice(TypedDict):
    id: Id
    state: str
    group: NotRequired[Text]
    board: NotRequired[Text]
    wave: NotRequired[Count | None]
    version: NotRequired[Text]
    since: NotRequired[Text]
    why: NotRequired[Text]


@with_config(_REST)
class WavesDevices(TypedDict):
    devices: list[WavesDevice]


@with_config(_REST)
class WavesEvent(TypedDict):
    id: Count
    kind: str
    at: NotRequired[Text]
    by: NotRequired[Text]
    why: NotRequired[Text]


@with_config(_REST)
class WavesHistory(TypedDict):
    history: list[WavesEvent]


@with_config(_REST)
class Published(TypedDict):
    published: bool
    channel: str
    warnings: list[str]


@with_config(_REST)
class Sbom(TypedDict):
    product: str
    version: str
    sequence: Sequence
    document: Base64
    signature: Base64


@with_config(_REST)
class PublishedData(TypedDict):
    published: bool


@with_config(_REST)
class Base(TypedDict):
    version: NotRequired[str]
    sequence: NotRequired[Sequence]


@with_config(_REST)
class FetchedRelease(TypedDict):
    product: str
    vendor: str
    version: str
    sequence: Sequence
    envelopes: dict[str, Base64]
    bases: NotRequired[dict[str, Base] | None]


@with_config(_REST)
class FetchedReleases(TypedDict):
    releases: list[FetchedRelease]


@with_config(_REST)
class Withdrawn(TypedDict):
    product: str
    version: str
    board: str


@with_config(_REST)
class PublishedTrust(TypedDict):
    version: Count
    withdrawn: list[Withdrawn]


# ---------------------------------------------------------------- the audit log


@with_config(_REST)
class Entry(TypedDict):
    id: Count
    at: Time
    actor: str
    action: str
    subject: str
    detail: Any
    hash: Digest


@with_config(_REST)
class Audit(TypedDict):
    whole: bool | None
    first_break: Count | None
    entries: list[Entry]


@with_config(_REST)
class Ticket(TypedDict):
    ticket: Annotated[str, Field(pattern=r"^tgt_[A-Za-z0-9_-]{16,60}$")]  # it stands in an address
    seconds: Count


@functools.cache
def _adapter(shape: str) -> TypeAdapter[Any]:
    kind = Map if shape == "Map" else globals()[shape]
    return TypeAdapter(kind)


def why_not(value: Any, shape: str) -> str | None:
    """What is wrong with `value` as an answer of this shape (the name of a class here); None if it fits."""
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
