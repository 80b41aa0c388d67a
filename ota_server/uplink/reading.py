"""Reads what devices publish, without the database: which device, what kind of message, what it says."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from ota_server.store import telemetry_rows as telemetry
from ota_server.uplink.text import MAX_INTEGER, clean
from tidegate.errors import Refused
from tidegate.names import DEVICE_ID, STREAM
from tidegate.wire import messages, senml

MAX_MESSAGE = 4096  # bytes; docs/wire.cddl allows no message of a device to be longer
FUTURE_MS = 600_000  # a measurement this far ahead of our clock has a wrong time; it is filed under now
_TOPIC = re.compile(rf"tg/({DEVICE_ID.pattern})/up/([a-z]{{1,16}})(?:/({STREAM.pattern}))?\Z")


class Message(NamedTuple):
    """One message of a device.

    retained: the broker had stored it, so it says nothing about the present. again: whoever sent it does not know
    whether it has arrived before.
    """

    topic: str
    payload: bytes
    retained: bool
    protocol: str = "mqtt"  # the transport
    again: bool = False


class Said(NamedTuple):
    """A message that was read. body: what it says, or the reason why it is refused."""

    message: Message
    device_id: str
    kind: str
    stream: str
    body: Any


class Telemetry(NamedTuple):
    """A pack of measurements; wrong_time: the seconds since 1970 of one that cannot be of that time."""

    pack: telemetry.Pack
    wrong_time: float | None


def read(message: Message, now: int) -> Said | None:
    """What the message says; None if devices do not publish under its topic. now: ms since 1970."""
    found = _TOPIC.match(message.topic)
    if found is None or found[2] not in _READERS or (found[3] is None) == (found[2] == "tele"):
        return None
    device_id, kind, stream = found[1], found[2], found[3] or ""
    body: Any
    try:
        if len(message.payload) > MAX_MESSAGE:
            raise Refused("too-long", f"{len(message.payload)} bytes, at most {MAX_MESSAGE} are allowed")
        body = _READERS[kind](message.payload, device_id, now)
    except Refused as refused:
        body = refused
    except (RecursionError, OverflowError) as error:
        body = unstorable(error)
    return Said(message, device_id, kind, stream, body)


def unstorable(error: Exception) -> Refused:
    return Refused("cbor", f"not CBOR that can be stored: {error}")


def _birth(payload: bytes, _device_id: str, _now: int) -> dict[str, Any]:
    body = messages.birth(payload)
    _numbers_fit(body, "sequence", "trust_version")
    for component in body.get("data", {}).values():
        _numbers_fit(component, "sequence")
    return body


def _state(payload: bytes, _device_id: str, _now: int) -> dict[str, Any]:
    return messages.state(payload)


def _report(payload: bytes, _device_id: str, _now: int) -> dict[str, Any]:
    body = messages.report(payload)
    _numbers_fit(body, "sequence")
    cleaned: dict[str, Any] = clean(body)
    return cleaned


def _result(payload: bytes, _device_id: str, _now: int) -> dict[str, Any]:
    return messages.result(payload)


def _alarm(payload: bytes, _device_id: str, _now: int) -> dict[str, Any]:
    return messages.alarm(payload)


def _numbers_fit(body: dict[str, Any], *names: str) -> None:
    for name in names:
        if body.get(name, 0) > MAX_INTEGER:
            raise Refused("message", f"{name} {body[name]} is above {MAX_INTEGER}")


def _telemetry(payload: bytes, device_id: str, now: int) -> Telemetry:
    prefix = f"urn:dev:org:tidegate:{device_id}:"
    pack = senml.read(payload, now / 1000)
    values, wrong, start = [], None, len(prefix)
    for record in pack.records:
        name = record["name"]
        if not name.startswith(prefix) or not 0 < len(name) - start <= 64:
            raise Refused("telemetry", f"a measurement is named {clean(name)[:80]!r}, not {prefix}...")
        at = _time(record["time"], now)
        if at is None:
            at, wrong = now, record["time"]
        value = _value(record, name[start:], at)
        if value is not None:
            values.append(value)
    dropped = 0 if pack.dropped is None and pack.number is not None else pack.dropped
    return Telemetry(telemetry.Pack(values, _mark(pack, payload), dropped, pack.number), wrong)


def _mark(pack: senml.Pack, payload: bytes) -> bytes | None:
    """What identifies this pack. Without a number and with relative times, two may have the same bytes."""
    if pack.number is not None:
        return b"number %d" % pack.number
    return payload if pack.timed else None


def _time(seconds: float, now: int) -> int | None:
    """In ms since 1970; None for a time that cannot be: 1970 or before, or too far ahead."""
    return round(seconds * 1000) if math.isfinite(seconds) and 0 < seconds * 1000 < now + FUTURE_MS else None


def _value(record: dict[str, Any], name: str, at: int) -> telemetry.Value | None:
    """A resolved SenML record as the database stores it; None if it has no value that can be stored."""
    unit = _unit(record["unit"]) if "unit" in record else None
    for member in ("value", "bool", "sum"):
        if member in record:
            number = float(record[member])
            return telemetry.Value(name, unit, at, number, None) if math.isfinite(number) else None
    return telemetry.Value(name, unit, at, None, clean(record.get("text", record.get("data", "")))[:256])


@lru_cache(1024)  # there are few, in every record
def _unit(text: str) -> str:
    cleaned: str = clean(text)
    return cleaned[:16]


_READERS: dict[str, Callable[[bytes, str, int], Any]] = {
    "birth": _birth,
    "state": _state,
    "report": _report,
    "result": _result,
    "alarm": _alarm,
    "tele": _telemetry,
}
