"""The shapes of what the API accepts: bodies and query parameters. /api/v1/openapi.json is generated from them."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import CoreSchema
from pydantic_core.core_schema import with_info_before_validator_function

from ota_server.api.validate import Body, Query, unusable
from ota_server.config import DEFAULT_PAGE, MAX_COMMAND, MAX_PAGE
from ota_server.errors import TooLarge
from ota_server.fleet import enrolment
from ota_server.fleet.groups import MAX_GROUPS, MAX_SETTINGS, Change
from ota_server.store import timeline
from ota_server.store.groups import STABLE
from ota_server.store.pages import MOST_ID, Place
from tidegate.names import BOARD, CHANNEL, COMPONENT, DEVICE_ID, DEVICE_NAME, PRODUCT, Name
from tidegate.rollout.selector import LABEL_KEY, LABEL_VALUE
from tidegate.wire.command_states import STATES

_CURSOR = re.compile(r"([0-9]{1,15})-([0-9]{1,18})\Z")
_STEPS = re.compile(rf"[{timeline.SOURCES}][0-9]{{1,15}}(\.[{timeline.SOURCES}][0-9]{{1,15}}){{0,4}}\Z", re.ASCII)
_STEP = re.compile(r"([a-z])([0-9]+)")
_REQUEST = re.compile(r"[0-9a-f]{32}\Z")
_REQUEST_SCHEMA = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?\Z")
_LATEST_S = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
MAX_AT_ONCE = 500  # devices registered in one request


# ---------------------------------------------------------------- types of members


class _Rule:
    """Base of what stands in Annotated: checks a value before pydantic does, and gives its JSON Schema."""

    schema: dict[str, Any]

    def check(self, value: Any, info: ValidationInfo) -> Any:
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return with_info_before_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return self.schema


class Text(_Rule):
    """Text that is such a name; `sentence`, with {value} in it, in place of the name's own refusal."""

    def __init__(self, name: Name, sentence: str = "") -> None:
        self._name, self._sentence = name, sentence
        self.schema = {"type": "string", "pattern": f"^{name.pattern}$", "maxLength": name.most}

    def check(self, value: Any, info: ValidationInfo) -> Any:
        if not self._name.fits(value):
            sentence = self._sentence.format(value=f"{value!r:.80}") if self._sentence else self._name.refusal(value)
            raise unusable(sentence, self._name.remedy)
        return value


class Base64(_Rule):
    """Standard base64 of at most `largest` bytes; the length is checked before it is decoded."""

    def __init__(self, what: str, largest: int) -> None:
        self._what, self._largest, self._longest = what, largest, (largest + 2) // 3 * 4
        self.schema = {"type": "string", "contentEncoding": "base64", "maxLength": self._longest}

    def check(self, value: Any, info: ValidationInfo) -> bytes:
        if not isinstance(value, str):
            raise unusable(f"{self._what} must be base64 text")
        data = b""
        if len(value) <= self._longest:  # else it is too long whatever it says
            try:
                data = base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                raise unusable(f"{self._what} is not base64", "Send standard base64 with padding") from None
            if len(data) <= self._largest:
                return data
        raise TooLarge("too-large", f"the {self._what} has more than {self._largest} bytes", "Is it the right file?")


class Number(_Rule):
    """A query parameter that is a number from 0 to `largest`."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self.schema = {"type": "integer", "minimum": 0, "maximum": largest}

    def check(self, value: Any, info: ValidationInfo) -> int:
        text = str(value)
        if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) > self._largest:
            name = info.field_name
            raise unusable(f"{name} must be a number from 0 to {self._largest}", f"Correct ?{name}=")
        return int(text)


def _moment(value: Any, info: ValidationInfo) -> int:
    """A time in ms since 1970, from ISO 8601 with a zone or seconds since 1970."""
    text = str(value)
    try:
        if _SECONDS.match(text) and text.isascii():
            seconds = float(text)
        else:
            moment = datetime.fromisoformat(text.replace(" ", "+"))  # a + that was not escaped arrives as a space
            seconds = moment.timestamp() if moment.tzinfo is not None else -1
    except (ValueError, OverflowError):
        seconds = -1
    if not 0 <= seconds <= _LATEST_S:
        raise unusable(
            f"{info.field_name} is not a time",
            f"Write ?{info.field_name}=2026-11-21T12:00:00Z, or seconds since 1970",
        )
    return round(seconds * 1000)


def _cursor(value: Any) -> tuple[int, int]:
    found = _CURSOR.match(str(value))
    if found is None:
        raise unusable("cursor is not one of ours", "Send the `next` of the page before")
    return int(found[1]), int(found[2])


def _timeline_place(value: Any, info: ValidationInfo) -> dict[str, int]:
    found = {} if value == "0" else dict(_STEP.findall(str(value)))
    if value != "0" and not _STEPS.match(str(value)):
        raise unusable(f"{info.field_name} is not one of ours", "Send what an answer gave, or 0 for the beginning")
    return {name: int(number) for name, number in found.items()}


def _timeline_kinds(value: Any) -> tuple[str, ...]:
    kinds = tuple(str(value).split(","))
    if wrong := [kind for kind in kinds if kind not in timeline.KINDS]:
        raise unusable(f"{wrong[0]!r:.40} is not a kind", f"Kinds: {', '.join(timeline.KINDS)}")
    return kinds


def one_of(states: Sequence[str]) -> tuple[BeforeValidator, WithJsonSchema]:
    """For Annotated: one of these states."""

    def check(value: Any) -> Any:
        if value not in states:
            raise unusable(f"{value!r:.40} is not a state", f"States: {', '.join(states)}")
        return value

    return BeforeValidator(check), WithJsonSchema({"enum": list(states)})


def _settings(value: Any, info: ValidationInfo) -> Any:
    if value is not None and not isinstance(value, dict):
        raise unusable("the settings of a group must be an object, or null")
    if len(json.dumps(value)) > MAX_SETTINGS:
        raise unusable(f"the settings of a group have more than {MAX_SETTINGS} bytes")
    return value


def _request(value: Any) -> bytes:
    if not isinstance(value, str) or not _REQUEST.match(value):
        raise unusable("request must be 32 hex digits", "Make a random number, and send it again with the same list")
    return bytes.fromhex(value)


def _differ(found: list[RegisterDevice]) -> list[RegisterDevice]:
    seen: set[str] = set()
    for one in found:
        if one.id in seen:
            raise unusable(f"{one.id} is listed twice", "List each device once")
        seen.add(one.id)
    return found


DeviceId = Annotated[str, Text(DEVICE_ID)]
DeviceName = Annotated[str, Text(DEVICE_NAME)]
BoardName = Annotated[str, Text(BOARD)]
ProductName = Annotated[str, Text(PRODUCT)]
Channel = Annotated[str, Text(CHANNEL, "{value} is not a valid channel or group name")]
Component = Annotated[str, Text(COMPONENT)]
LabelKey = Annotated[str, Text(LABEL_KEY)]
LabelValue = Annotated[str, Text(LABEL_VALUE)]
Time = Annotated[int, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
Cursor = Annotated[
    tuple[int, int], BeforeValidator(_cursor), WithJsonSchema({"type": "string", "pattern": "^[0-9]+-[0-9]+$"})
]
TimelinePlace = Annotated[
    dict[str, int],
    BeforeValidator(_timeline_place),
    WithJsonSchema({"type": "string", "pattern": f"^(0|[{timeline.SOURCES}][0-9]+([.][{timeline.SOURCES}][0-9]+)*)$"}),
]


# ---------------------------------------------------------------- devices, claims


class RegisterDevice(Body):
    value_kinds: ClassVar[Mapping[str, str]] = dict.fromkeys(("id", "board", "product"), "invalid-device")
    id: DeviceId
    board: BoardName
    product: ProductName


class RegisterDevices(Body):
    """Up to 500 devices, each once, and a random number of the sender's that a repetition has again."""

    value_kinds: ClassVar[Mapping[str, str]] = dict.fromkeys(("devices", "request"), "invalid-device")
    request: Annotated[bytes, BeforeValidator(_request), WithJsonSchema(_REQUEST_SCHEMA)]
    devices: Annotated[list[RegisterDevice], Field(min_length=1, max_length=MAX_AT_ONCE), AfterValidator(_differ)]


class RenameDevice(Body):
    value_kinds: ClassVar[Mapping[str, str]] = {"name": "invalid-name"}
    name: DeviceName | None


class ChangeProduct(Body):
    value_kinds: ClassVar[Mapping[str, str]] = dict.fromkeys(("board", "product"), "invalid-device")
    board: BoardName
    product: ProductName


class ChangeLabels(Body):
    """Labels by key; null takes one away."""

    value_kinds: ClassVar[Mapping[str, str]] = {"labels": "invalid-label"}
    labels: Annotated[dict[LabelKey, LabelValue | None], Field(min_length=1, max_length=16)]


class MakeClaim(Body):
    """Which device may use the claim, and what it becomes; each member is optional."""

    kind: ClassVar[str] = "invalid-claim"
    remedy: ClassVar[str] = "See docs/enrolment.md"
    device: str | None = None
    group: str | None = None
    name: DeviceName | None = None
    board: BoardName | None = None
    product: ProductName | None = None
    expires_s: Annotated[int, Field(ge=1, le=enrolment.MAX_EXPIRY_S)] = enrolment.DEFAULT_EXPIRY_S


# ---------------------------------------------------------------- groups, commands


class ReleaseName(Body):
    product: str
    version: str


class GroupChange(Body):
    """What to change in a group; absent members stay as they are."""

    channel: Channel = STABLE
    release: ReleaseName | None = None
    settings: Annotated[dict[str, Any] | None, BeforeValidator(_settings)] = None


class ChangeGroups(Body):
    """A change to groups, all of it or nothing.

    `seen` is the digest of the state that the change was made for, null for any; `devices` maps ids or names to
    groups.
    """

    what: ClassVar[str] = "the change"
    kind: ClassVar[str] = "invalid-change"
    remedy: ClassVar[str] = "See docs/gitops.md"
    seen: str | None
    groups: Annotated[dict[Channel, GroupChange], Field(max_length=MAX_GROUPS)]
    devices: dict[str, Channel]

    def change(self) -> Change:
        facts = {name: group.model_dump(exclude_unset=True) for name, group in self.groups.items()}
        return Change(self.seen, facts, self.devices)


class HandInCommand(Body):
    command: Annotated[bytes, Base64("command", MAX_COMMAND)]


# ---------------------------------------------------------------- queries


class Limit(Query):
    limit: Annotated[int, Number(MAX_PAGE)] = DEFAULT_PAGE

    @property
    def rows(self) -> int:
        """How many rows the answer may have, at least 1."""
        return max(1, self.limit)


class Page(Limit):
    """since: the id of the last row that the caller has: what is newer, oldest first. before: only what is older."""

    since: Annotated[int, Number(MOST_ID)] | None = None
    before: Annotated[int, Number(MOST_ID)] | None = None

    @property
    def place(self) -> Place:
        return Place(self.since, self.before)


class Devices(Limit):
    after: str = ""


class Timeline(Limit):
    """kind: only these, a comma between them. since, before: a place that an answer gave; since 0: the beginning."""

    kind: Annotated[tuple[str, ...] | None, BeforeValidator(_timeline_kinds), WithJsonSchema({"type": "string"})] = None
    since: TimelinePlace | None = None
    before: TimelinePlace | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        return self.kind or timeline.KINDS


class Since(Limit):
    """since: only rows after this id."""

    since: Annotated[int, Number(MOST_ID)] | None = None


class Commands(Page):
    device: str | None = None
    group: str | None = None
    state: Annotated[str | None, *one_of(STATES)] = None


class OneCommand(Query):
    """device: needed where two devices have a command of the same cti."""

    device: str | None = None


class OfProduct(Query):
    product: str | None = None


class Releases(Limit):
    product: str | None = None


class FetchReleases(Query):
    """before: only below this sequence number."""

    limit: Annotated[int, Number(2**31)] = 1
    before: Annotated[int, Number(MOST_ID)] = 0
    version: str | None = None


class Series(Query):
    """Which measurements, and of what time: since (in) and until (out)."""

    stream: str | None = None
    name: str | None = None
    since: Time | None = None
    until: Time | None = None


class Rollups(Series, Limit):
    """step: minute, hour or day; without it, the finest in which the span fits one page. cursor: `next` of before."""

    step: Literal["minute", "hour", "day"] | None = None
    cursor: Cursor | None = None


class History(Series, Limit):
    """cursor: `next` of the page before; after: instead, what was filed after the value with this id."""

    cursor: Cursor | None = None
    after: Annotated[int, Number(MOST_ID)] | None = None
