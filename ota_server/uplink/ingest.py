"""Files what devices publish. No peer is trusted: a bad message becomes an alarm and a count, nothing else."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from ota_server.store import (
    Store,
    alarms,
    clone_detection,
    command_output,
    commands,
    data,
    now_ms,
    offers,
    settings,
    telemetry,
    trust_updates,
)
from ota_server.store.models import Device, Report
from tidegate.errors import Refused
from tidegate.names import DEVICE_ID, STREAM
from tidegate.wire import messages, senml

log = logging.getLogger("tidegate.ingest")

MAX_MESSAGE = 4096  # bytes; docs/wire.cddl allows no message of a device to be longer
MAX_INTEGER = 2**63 - 1  # what the database can hold
FUTURE_MS = 600_000  # a measurement this far ahead of our clock has a wrong time; it is filed under now
_TOPIC = re.compile(rf"tg/({DEVICE_ID.pattern})/up/([a-z]{{1,16}})(?:/({STREAM.pattern}))?\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_FAILED = ("rolled-back", "refused", "failed")
_UNDER_WAY = ("offered", "fetching", "applying", "installed", "trial")


class Message(NamedTuple):
    """One message of a device. `retained`: the broker had stored it, so it says nothing about the present."""

    topic: str
    payload: bytes
    retained: bool
    protocol: str = "mqtt"  # the transport


# Called with the session and the device before anything is filed, in the same transaction; may raise.
Admit = Callable[[Session, Device], None]


def take(store: Store, message: Message, admit: Admit | None = None) -> Refused | None:
    """File one message in one transaction; returns what is wrong with it, if anything is.

    Never raises for what the peer sent, only for what the database does or `admit` refuses.
    """
    found = _TOPIC.match(message.topic)
    if found is None or found[2] not in _HANDLERS or (found[3] is None) == (found[2] == "tele"):
        with store.write() as session:
            alarms.count(session, "messages on unknown topics")
        return Refused("topic", "devices do not publish under this name")
    device_id, kind, stream = found[1], found[2], found[3]
    with store.write() as session:
        device = session.get(Device, device_id, with_for_update=True)
        if device is None:
            alarms.count(session, "messages of unknown devices")
            return Refused("device", "no such device is registered")
        if device.revoked_at is not None:
            alarms.count(session, "messages of revoked devices")
            return Refused("revoked", "the device is revoked")
        if admit is not None:
            admit(session, device)
        try:
            with session.begin_nested():  # what is wrong leaves nothing but the alarm, and that it was admitted
                if len(message.payload) > MAX_MESSAGE:
                    raise Refused("too-long", f"{len(message.payload)} bytes, at most {MAX_MESSAGE} are allowed")
                if not message.retained:
                    device.last_seen_at = now_ms()
                    device.protocol = message.protocol
                _HANDLERS[kind](session, device, message, stream or "")
            return None
        except (Refused, RecursionError, OverflowError) as error:
            refused = error if isinstance(error, Refused) else Refused("cbor", f"not CBOR that can be stored: {error}")
        alarms.raise_server_alarm(session, device_id, "bad-message", refused.reason, f"{kind}: {clean(str(refused))}")
    log.warning("%s: bad %s: %s", device_id, kind, refused)
    return refused


def clean_line(text: str) -> str:
    """Without control characters: a device must not write to its reader's terminal."""
    return _CONTROL.sub("\ufffd", text)


def clean_text(text: str) -> str:
    """The same for text of several lines."""
    return _NOT_TEXT.sub("\ufffd", text.replace("\r\n", "\n"))


def clean(value: Any, text: Callable[[str], str] = clean_line) -> Any:
    """Decoded CBOR as JSON that every database and browser takes: no control characters, NaN or huge numbers."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_INTEGER:
        return str(value)
    if isinstance(value, dict):
        return {clean(key): clean(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item, text) for item in value]
    return value


def _numbers_fit(body: dict[str, Any], *names: str) -> None:
    for name in names:
        if body.get(name, 0) > MAX_INTEGER:
            raise Refused("message", f"{name} {body[name]} is above {MAX_INTEGER}")


def _birth(session: Session, device: Device, message: Message, _stream: str) -> None:
    body = messages.birth(message.payload)
    _numbers_fit(body, "sequence", "trust_version")
    if (body["board"], body["product"]) != (device.board, device.product):
        alarms.raise_server_alarm(
            session,
            device.id,
            "identity",
            "other-board",
            f"registered as {device.product} on {device.board}, says it is {clean(body['product'])} on "
            f"{clean(body['board'])}",
        )
    if not message.retained:
        clone_detection.on_birth(session, device, body["nonce"], body.get("hardware"))
    # A device that has a key says its birth once more as soon as it has signed it.
    signed_since = device.nonce == body["nonce"] and device.birth_proof is None and "proof" in body
    if device.nonce != body["nonce"]:
        device.birth_at, device.birth_proof = now_ms(), None
    device.birth_proof = body.get("proof", device.birth_proof)
    device.version, device.sequence, device.digest = clean(body["version"])[:64], body["sequence"], body["digest"]
    device.nonce, device.reset_cause = body["nonce"], clean(body["reset_cause"])[:16]
    device.trial, device.micropython = body["trial"], clean(body["micropython"])[:64]
    if trust_updates.on_birth(session, device, body["trust_version"]):
        alarms.raise_server_alarm(
            session,
            device.id,
            "trust-behind",
            "no-update",
            f"has trust store version {body['trust_version']}, and version {body['trust_version'] + 1} was never "
            "published here: publish the missing updates in order, or flash the newest store",
        )
    data.on_birth(session, device, body.get("data", {}))
    settings.on_birth(session, device, body.get("settings"))
    offers.derive_for(session, device)
    if not message.retained:
        device.online = True
    offered = device.offer.release.sequence if device.offer is not None else 0
    if offered > max(body["sequence"], device.failed_sequence or 0) and not signed_since:
        device.offer_sent_id = None  # the broker may have lost the retained offer: it goes out once more


def _state(session: Session, device: Device, message: Message, _stream: str) -> None:
    device.online = messages.state(message.payload)["online"]


def _report(session: Session, device: Device, message: Message, _stream: str) -> None:
    body = messages.report(message.payload)
    _numbers_fit(body, "sequence")
    body = clean(body)
    phase, sequence = body["phase"], body["sequence"]
    last = session.scalar(select(Report).where(Report.device_id == device.id).order_by(Report.id.desc()).limit(1))
    if last is not None and _only_progress(last.body, body):
        last.body, last.at = body, now_ms()
    else:
        session.add(Report(device_id=device.id, sequence=sequence, phase=phase, body=body))
    if message.retained:
        return
    lwm2m = body["lwm2m"]
    status = {
        "phase": phase,
        "state": lwm2m["state"],
        "result": lwm2m["result"],
        "sequence": sequence,
        "verdict": body["verdict"],
        "detail": body.get("detail"),
        "progress": body.get("progress"),
        "again_s": body.get("again"),
        "at": now_ms(),
    }
    failed = phase in _FAILED and "again" not in body
    tries = phase in _UNDER_WAY or (phase in _FAILED and not failed)
    if "component" in body:
        data.reported(session, device.id, body["component"], status, failed, tries)
        return
    device.update = status
    if failed:
        device.failed_sequence = max(sequence, device.failed_sequence or 0)
    elif tries and device.failed_sequence == sequence:
        device.failed_sequence = None  # it has begun again, so the verdict of before is out of date
    elif phase == "confirmed":
        device.trial = False


def _only_progress(last: dict[str, Any], body: dict[str, Any]) -> bool:
    """Whether this report differs from the last one only in its progress: then it replaces it."""
    same = all(last.get(name) == body.get(name) for name in ("phase", "sequence", "nonce", "verdict", "component"))
    return same and "progress" in last and "progress" in body


def _result(session: Session, device: Device, message: Message, _stream: str) -> None:
    body = messages.result(message.payload)
    cti, outcome, part = body.pop("cti"), body["code"], body.pop("part", None)
    if outcome == "running":
        known = commands.get(session, cti, device.id)
        if known is None:
            _unknown(session)
        else:
            command_output.add(session, known, part["number"], clean_text(body["text"]))
    else:
        answer = {name: clean(value) for name, value in body.items() if name != "answer"}
        if "answer" in body:
            answer["answer"] = clean(body["answer"], clean_text)
        if "proof" in body:
            answer["signed"] = message.payload.hex()  # what the proof is about, as it came
        parts = None if part is None else part["number"]
        row = commands.answered(session, device.id, cti, outcome, answer, answer.get("why"), parts)
        if row is None:
            _unknown(session)
        elif outcome == "done":
            settings.note_answer(session, device, row.opcode, answer.get("answer"))
            if row.opcode == "update.retry":  # it forgot what it refused, and now needs to hear it
                offers.send_again(session, device)


def _unknown(session: Session) -> None:
    alarms.count(session, "results of unknown commands")


def _alarm(session: Session, device: Device, message: Message, _stream: str) -> None:
    alarm = messages.alarm(message.payload)
    body = clean(alarm)
    kind, reason, cti = body["kind"][:32], body["reason"][:32], body.get("cti")
    count = min(body.get("suppressed", 0) or 0, 1_000_000) + 1 if isinstance(body.get("suppressed", 0), int) else 1
    detail, trace = body.get("detail"), alarm.get("trace")
    alarms.add(session, device.id, kind, reason, detail and detail[:256], cti, count, trace and clean_text(trace))
    if kind == "command-refused" and cti is not None:
        commands.declined(session, device.id, cti, f"{reason}: {detail}" if detail else reason)


def _telemetry(session: Session, device: Device, message: Message, stream: str) -> None:
    now = now_ms()
    prefix = f"urn:dev:org:tidegate:{device.id}:"
    pack = senml.read(message.payload, now / 1000)
    values, wrong = [], None
    for record in pack.records:
        name = record["name"]
        if not name.startswith(prefix) or not 0 < len(name) - len(prefix) <= 64:
            raise Refused("telemetry", f"a measurement is named {clean(name)[:80]!r}, not {prefix}...")
        at = _time(record["time"], now)
        wrong = record["time"] if at is None else wrong
        values.append(_value(record, name[len(prefix) :], now if at is None else at))
    if wrong is not None:
        detail = f"{stream}: a measurement is of {clean(wrong)!r:.40} s since 1970; filed under now"
        alarms.raise_server_alarm(session, device.id, "clock", "impossible-time", detail)
    usable = [value for value in values if value is not None]
    dropped = 0 if pack.dropped is None and pack.number is not None else pack.dropped
    lost = telemetry.add(session, device.id, stream, telemetry.Pack(usable, _mark(pack, message), dropped))
    if lost:
        alarms.raise_server_alarm(
            session, device.id, "telemetry-lost", stream[:32], f"{lost} packs of stream {stream}", lost
        )


def _mark(pack: senml.Pack, message: Message) -> bytes | None:
    """What identifies this pack. Without a number and with relative times, two may have the same bytes."""
    if pack.number is not None:
        return b"number %d" % pack.number
    return message.payload if pack.timed else None


def _time(seconds: float, now: int) -> int | None:
    """In ms since 1970; None for a time that cannot be: 1970 or before, or too far ahead."""
    return round(seconds * 1000) if math.isfinite(seconds) and 0 < seconds * 1000 < now + FUTURE_MS else None


def _value(record: dict[str, Any], name: str, at: int) -> telemetry.Value | None:
    """A resolved SenML record as the database stores it; None if it has no value that can be stored."""
    unit = clean(record["unit"])[:16] if "unit" in record else None
    for member in ("value", "bool", "sum"):
        if member in record:
            number = float(record[member])
            return telemetry.Value(name, unit, at, number, None) if math.isfinite(number) else None
    return telemetry.Value(name, unit, at, None, clean(record.get("text", record.get("data", "")))[:256])


_HANDLERS: dict[str, Callable[[Session, Device, Message, str], None]] = {
    "birth": _birth,
    "state": _state,
    "report": _report,
    "result": _result,
    "alarm": _alarm,
    "tele": _telemetry,
}
