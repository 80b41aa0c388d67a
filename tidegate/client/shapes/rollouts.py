"""Rollouts of one release to named devices, and the plan of one."""

from __future__ import annotations

from typing import Literal, NotRequired

from pydantic import ConfigDict, with_config

from tidegate.client.shapes.terms import REST, Count, Digest, Id, Sequence, Text, TypedDict


class Counts(TypedDict):
    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")  # type: ignore[misc]
    waiting: Count
    offered: Count
    running: Count
    retrying: NotRequired[Count]  # older servers do not count it
    failed: Count
    none: Count


@with_config(REST)
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


@with_config(REST)
class RolloutPlan(TypedDict):
    devices: list[Fate]


@with_config(REST)
class ReleasePlan(RolloutPlan):
    missing: list[Digest]
    published: bool


@with_config(REST)
class RolloutDevice(TypedDict):
    id: Id
    state: str


@with_config(REST)
class ListedRollout(TypedDict):
    product: str
    version: str
    sequence: Sequence
    channels: list[str]
    groups: list[str]
    counts: Counts


@with_config(REST)
class Rollouts(TypedDict):
    rollouts: list[ListedRollout]


@with_config(REST)
class Rollout(ListedRollout):
    devices: list[RolloutDevice]
    next: NotRequired[str | None]  # what the next page comes after


@with_config(REST)
class ChangedRollout(ListedRollout):
    started: NotRequired[bool]
    stopped: NotRequired[bool]
    retried: NotRequired[list[Id]]
