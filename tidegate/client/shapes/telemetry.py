"""What devices measured and reported, and what happened to them."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from pydantic import Field, with_config

from tidegate.client.shapes.terms import REST, Count, Id, Map, Text, Time, TypedDict


@with_config(REST)
class Measure(TypedDict):
    stream: str
    name: str
    value: Any
    at: Text
    unit: Text


@with_config(REST)
class Point(Measure):
    id: Count


@with_config(REST)
class Telemetry(TypedDict):
    telemetry: list[Point]
    next: Annotated[str, Field(pattern=r"^[!-~]{1,64}$")] | None


@with_config(REST)
class Stream(TypedDict):
    stream: str


@with_config(REST)
class LastTelemetry(TypedDict):
    last: list[Measure]
    streams: list[Stream]


@with_config(REST)
class Reports(TypedDict):
    reports: list[Map]


@with_config(REST)
class Happened(TypedDict):
    id: Id
    at: Time
    kind: str
    text: str
    body: Map


Place = Annotated[str, Field(pattern=r"^[!-~]{1,128}$")]


@with_config(REST)
class Timeline(TypedDict):
    timeline: list[Happened]
    since: Place | None
    before: Place | None
    silent_since: NotRequired[Time | None]
