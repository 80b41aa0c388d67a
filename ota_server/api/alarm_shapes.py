"""The shapes of what the API accepts about alarms."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, WithJsonSchema

from ota_server.api.shapes import Page, one_of
from ota_server.api.validate import Body, unusable
from ota_server.fleet.alarm_acts import LEAST_S, MAX_KIND, MAX_TEXT, MOST_AT_ONCE, MOST_S
from ota_server.store.alarms import Only
from ota_server.store.pages import MOST_ID
from tidegate.wire.alarm_states import STATES

_MAX_DEVICE = 64
_TEXT = {"type": "string", "minLength": 1}


def _word(most: int) -> tuple[BeforeValidator, WithJsonSchema]:
    """A word that a database can store, of 1 to `most` characters."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or not 1 <= len(value) <= most or not value.isprintable():
            raise unusable(f"{value!r:.40} is not a word of 1 to {most} characters", "tidegate alarms list shows them")
        return value

    return BeforeValidator(check), WithJsonSchema({**_TEXT, "maxLength": most, "pattern": "^[A-Za-z0-9._ -]+$"})


def _note(value: Any) -> Any:
    if isinstance(value, str) and not all(letter.isprintable() or letter == "\n" for letter in value):
        raise unusable("a note or reason has characters that cannot be shown", "Write it as plain text")
    return value


_Kind = Annotated[str, *_word(MAX_KIND)]
_Device = Annotated[str, *_word(_MAX_DEVICE)]
_Note = Annotated[
    str, BeforeValidator(_note), Field(max_length=MAX_TEXT), WithJsonSchema({"type": "string", "maxLength": MAX_TEXT})
]  # fmt: skip


class AlarmsOfDevice(Page):
    """kind: only those; state: open, acknowledged, or calling (open, and not muted)."""

    kind: _Kind | None = None
    state: Annotated[str | None, *one_of(STATES)] = None

    @property
    def only(self) -> Only:
        return Only(self.kind, self.state)


class AlarmPage(AlarmsOfDevice):
    """device: only those of the device with this id or name."""

    device: _Device | None = None


class AcknowledgeAlarms(Body):
    """alarms: their ids; note: what there is to say about them."""

    alarms: Annotated[list[Annotated[int, Field(ge=1, le=MOST_ID - 1)]], Field(min_length=1, max_length=MOST_AT_ONCE)]
    note: _Note | None = None


class MuteAlarms(Body):
    """kind; device: its id or name, null for all; seconds: for how long; why: for who asks later."""

    remedy: ClassVar[str] = "See docs/server.md, Alarms"
    of_kind: Annotated[_Kind, Field(alias="kind")]  # Body has a `kind` of its own
    device: _Device | None = None
    seconds: Annotated[int, Field(ge=LEAST_S, le=MOST_S)]
    why: _Note | None = None
