"""Signed commands and their answers."""

from __future__ import annotations

from typing import NotRequired

from pydantic import with_config

from tidegate.client.shapes.devices import Device
from tidegate.client.shapes.terms import REST, Count, Cti, Hex, Id, Map, Text, Time, TypedDict


@with_config(REST)
class Step(TypedDict):
    state: str
    by: str
    at: NotRequired[Text]
    why: NotRequired[Text]


@with_config(REST)
class Result(TypedDict):
    answer: NotRequired[Map | None]
    why: NotRequired[Text]


@with_config(REST)
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


@with_config(REST)
class Commands(TypedDict):
    commands: list[Command]


@with_config(REST)
class Asked(TypedDict):
    asked: Command | None


@with_config(REST)
class WholeDevice(Device):
    commands: NotRequired[list[Command] | None]
