"""Rollouts in waves, their plans and their history, and the error budget."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field, with_config

from tidegate.client.shapes.terms import REST, Count, Id, Sequence, Text, TypedDict


class Wave(TypedDict):
    __pydantic_config__ = REST  # type: ignore[misc]
    wave: Count
    size: str
    open: bool
    counts: dict[str, Count]


@with_config(REST)
class Evidence(TypedDict):
    text: str


@with_config(REST)
class WavesTerms(TypedDict):
    to: str
    max_failures: str


@with_config(REST)
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


@with_config(REST)
class RetriedWaves(Waves):
    retried: list[Id]


@with_config(REST)
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


@with_config(REST)
class Budgets(TypedDict):
    budgets: list[Budget]


@with_config(REST)
class BudgetAnswer(TypedDict):
    budget: Budget | None


@with_config(REST)
class WavesLine(TypedDict):
    product: str
    version: str
    sequence: Sequence
    to: str
    wave: Count
    waves: Count
    state: str
    why: str


@with_config(REST)
class ListedWaves(TypedDict):
    rollouts: list[WavesLine]


@with_config(REST)
class PlannedWave(TypedDict):
    wave: Annotated[int, Field(ge=1)]
    size: str
    devices: Count


@with_config(REST)
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


@with_config(REST)
class _WavesPlan(TypedDict):
    waves: list[PlannedWave]
    rows: list[WaveRow]
    excused: dict[str, Count]
    beyond: Count


WavesPlan = Annotated[_WavesPlan, AfterValidator(_rows_are_of_waves)]


@with_config(REST)
class WavesDevice(TypedDict):
    id: Id
    state: str
    group: NotRequired[Text]
    board: NotRequired[Text]
    wave: NotRequired[Count | None]
    version: NotRequired[Text]
    since: NotRequired[Text]
    why: NotRequired[Text]


@with_config(REST)
class WavesDevices(TypedDict):
    devices: list[WavesDevice]


@with_config(REST)
class WavesEvent(TypedDict):
    id: Count
    kind: str
    at: NotRequired[Text]
    by: NotRequired[Text]
    why: NotRequired[Text]


@with_config(REST)
class WavesHistory(TypedDict):
    history: list[WavesEvent]
