"""The shapes of what the API accepts about rollouts: where to, their terms, what people do to them, error budgets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from ota_server.api.shapes import Channel, Devices, Limit, one_of
from ota_server.api.validate import Body, unusable
from ota_server.fleet import rollout_progress
from tidegate.errors import TidegateError
from tidegate.names import DEVICE_ID
from tidegate.rollout import Terms, device_states
from tidegate.rollout.slo import parse as parse_slo
from tidegate.rollout.terms import parse as parse_terms

_PLACE = re.compile(rf"([0-5])-({DEVICE_ID.pattern})\Z")
_PLACE_SCHEMA = WithJsonSchema({"type": "string", "pattern": f"^[0-5]-{DEVICE_ID.pattern}$"})


def _place(value: Any) -> tuple[int, str]:
    found = _PLACE.match(str(value))
    if found is None:
        raise unusable("after is not one of ours", "Send the `next` of the page before")
    return int(found[1]), found[2]


class RolloutTarget(Body):
    """A channel or a group: one of the two."""

    value_kinds: ClassVar[Mapping[str, str]] = {"channel": "invalid-name", "group": "invalid-name"}
    channel: Channel | None = None
    group: Channel | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set) != 1 or self.channel is self.group is None:
            raise unusable("the body must have the member channel or the member group", "Name one")
        return self

    @property
    def where(self) -> tuple[Literal["channel", "group"], str]:
        return ("channel", self.channel) if self.channel is not None else ("group", self.group or "")


class RolloutTerms(Body):
    """The terms of a rollout in waves, as the command line writes them (docs/rollouts.md)."""

    what: ClassVar[str] = "the rollout"
    kind: ClassVar[str] = "invalid-rollout"
    remedy: ClassVar[str] = "See docs/rollouts.md"
    to: str
    waves: str | None = None
    soak: str | None = None
    max_failures: str | None = None
    min_sample: int | None = None
    deadline: str | None = None
    manual: bool | None = None
    rate: str | None = None
    window: str | None = None
    watch: list[str] | None = None
    error: float | None = None
    gate: str | None = None
    gate_timeout: str | None = None

    @model_validator(mode="after")
    def _readable(self) -> Self:
        try:
            parse_terms(self.model_dump())
        except TidegateError as wrong:
            raise unusable(wrong.message, wrong.remedy) from None
        return self

    @property
    def terms(self) -> Terms:
        return parse_terms(self.model_dump())


class Why(Body):
    """A sentence for the history, and for who asks later."""

    why: Annotated[str, Field(max_length=200)] | None = None


class Promotion(Why):
    """wave: the one that was checked; the next is opened only while that is the newest."""

    wave: Annotated[int, Field(ge=1, le=64)] | None = None


class ErrorBudgetOf(Body):
    """slo: like 1%/30d: of the updates that ended in 30 days at most 1 % may have failed; null: none."""

    slo: str | None

    @field_validator("slo")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        try:
            return value and str(parse_slo(value))
        except TidegateError as wrong:
            raise unusable(wrong.message, wrong.remedy) from None


class LiftedBudget(Body):
    """why: for the audit log."""

    seconds: Annotated[int, Field(ge=60, le=7 * 86400)]
    why: Annotated[str, Field(min_length=1, max_length=200)]


class RolloutPage(Limit):
    """after: `next` of the page before; state: only devices in this state."""

    after: Annotated[tuple[int, str] | None, BeforeValidator(_place), _PLACE_SCHEMA] = None
    state: Annotated[str | None, *one_of(rollout_progress.STATES)] = None

    @property
    def page(self) -> rollout_progress.Page:
        return rollout_progress.Page(self.rows, self.after, self.state)


class RolloutDevices(Devices):
    state: Annotated[str | None, *one_of(device_states.STATES)] = None
