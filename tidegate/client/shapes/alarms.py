"""Alarms, of devices and of the server."""

from __future__ import annotations

from typing import NotRequired

from pydantic import with_config

from tidegate.client.shapes.terms import REST, Count, Text, TypedDict


@with_config(REST)
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


@with_config(REST)
class Alarms(TypedDict):
    alarms: list[Alarm]


@with_config(REST)
class Acknowledged(TypedDict):
    acknowledged: list[Count]


@with_config(REST)
class AlarmMute(TypedDict):
    id: Count
    kind: str
    until: str
    device: Text
    by: str
    why: Text


@with_config(REST)
class AlarmMutes(TypedDict):
    mutes: list[AlarmMute]
