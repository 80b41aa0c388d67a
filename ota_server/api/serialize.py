"""Rows as JSON. Times are ISO 8601 in UTC; what a device has not reported yet is null."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from ota_server.fleet import offer_state
from ota_server.store import alarm_handling, clock, command_output, commands, data, now_ms, telemetry
from ota_server.store.models import (
    Alarm,
    AlarmMute,
    Claim,
    Command,
    CommandStep,
    DataTarget,
    Device,
    DeviceData,
    Point,
    Release,
    Report,
    Rollup,
    Series,
    Stream,
    Target,
    TrustUpdate,
    WebhookDelivery,
)
from tidegate import enrolment
from tidegate.commands import cwt
from tidegate.errors import Refused
from tidegate.release.inspect import trust_facts
from tidegate.trust import rotation
from tidegate.trust.store import TrustStore
from tidegate.wire.messages import plain


def iso(ms: int | None) -> str | None:
    return None if ms is None else clock.iso(ms)


def device(row: Device) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "board": row.board,
        "product": row.product,
        "group": row.group,
        "protocol": row.protocol,
        "online": row.online,
        "last_seen": iso(row.last_seen_at),
        "last_seen_s": None if row.last_seen_at is None else round((now_ms() - row.last_seen_at) / 1000, 1),
        "version": row.version,
        "sequence": row.sequence,
        "digest": row.digest,
        "nonce": row.nonce,
        "birth_proof": row.birth_proof,
        "trial": row.trial,
        "reset_cause": row.reset_cause,
        "micropython": row.micropython,
        "trust_version": row.trust_version,
        "born": iso(row.birth_at),
        "created": iso(row.created_at),
        "key": None if row.key is None else enrolment.device_id(row.key),
        "hardware": row.hardware,
        "cloned": iso(row.cloned_at),
        "revoked": iso(row.revoked_at),
        "settings": row.settings,
        "update": row.update,
        "offer": offer(row),
    }


def offer(row: Device) -> dict[str, Any] | None:
    """What the device is offered, and the state of that."""
    if row.offer is None:
        return None
    release = row.offer.release
    return {"version": release.version, "sequence": release.sequence, "state": offer_state.of_image(row)}


def trust(row: Device, newest: int) -> dict[str, Any]:
    """Which version of the trust store the device has, and whether that is the `newest` published here."""
    state = None
    if row.trust_version is not None:
        state = "behind" if row.trust_version < newest else "current"
    return {"version": row.trust_version, "newest": newest or None, "state": state}


def trust_store(store: TrustStore) -> dict[str, Any]:
    return trust_facts(store)


def trust_update(row: TrustUpdate) -> dict[str, Any]:
    signers = [kid.hex() for kid in rotation.signers(row.document)]
    return {"version": row.version, "created": iso(row.created_at), "signed_by": signers, "held": row.held}


def withdrawn(row: Target | DataTarget) -> dict[str, Any]:
    """A target that a trust update withdrew; data has a `name`."""
    if isinstance(row, DataTarget):
        return {"product": row.product, "version": row.version, "board": row.board, "name": row.name}
    return {"product": row.release.product, "version": row.release.version, "board": row.board}


def value(row: Series | Point) -> dict[str, Any]:
    return {"value": row.text if row.number is None else row.number, "at": iso(row.at)}


def point(row: Point, series: Series) -> dict[str, Any]:
    return {"id": row.id, "stream": series.stream, "name": series.name, **value(row), "unit": series.unit}


def series(row: Series) -> dict[str, Any]:
    """The newest value of a series, and how many of its points are stored."""
    return {"stream": row.stream, "name": row.name, **value(row), "unit": row.unit, "points": row.points}


def rollup(row: Rollup, series: Series) -> dict[str, Any]:
    """What was measured in one minute, hour or day, which begins `at`."""
    numbers = {"count": row.count, "min": row.least, "max": row.most, "mean": row.total / row.count}
    return {"stream": series.stream, "name": series.name, "at": iso(row.at), "unit": series.unit, **numbers}


def stream(row: Stream) -> dict[str, Any]:
    return {
        "stream": row.name,
        "last": iso(row.at),
        "packs": row.packs,
        "repeated": row.repeated,
        "dropped": row.dropped,
        "missing": row.missing,
    }


def latest(session: Session, device_id: str) -> dict[str, Any]:
    """The newest value of each of the device's measurements, by name."""
    return {row.name: {**value(row), "unit": row.unit} for row in telemetry.latest(session, device_id)}


def report(row: Report) -> dict[str, Any]:
    return {"id": row.id, "at": iso(row.at), **row.body}


def claim(row: Claim) -> dict[str, Any]:
    """`state`: open, used, expired or revoked."""
    state = "expired" if row.expires_at <= now_ms() else "open"
    if row.revoked_at is not None:
        state = "revoked"
    return {
        "id": row.id,
        "state": "used" if row.used_at is not None else state,
        "device": row.device_id,
        "group": row.group,
        "name": row.name,
        "board": row.board,
        "product": row.product,
        "created": iso(row.created_at),
        "expires": iso(row.expires_at),
        "used": iso(row.used_at),
        "used_by": row.used_by,
    }


def alarm(row: Alarm) -> dict[str, Any]:
    return {
        "id": row.id,
        "device": row.device_id,
        "source": row.source,
        "time": iso(row.at),
        "last_time": iso(row.last_at),
        "kind": row.kind,
        "reason": row.reason,
        "detail": row.detail,
        "cti": row.cti,
        "count": row.count,
        "trace": row.trace,
        "acknowledged": iso(row.acknowledged_at),
        "acknowledged_by": row.acknowledged_by,
        "note": row.note,
    }


def alarm_list(session: Session, rows: Sequence[Alarm]) -> list[dict[str, Any]]:
    """Alarms, each with the time until which a mute covers it, or null."""
    muted = alarm_handling.muted_until(session, rows)
    return [{**alarm(row), "muted_until": iso(muted.get(row.id))} for row in rows]


def mute(row: AlarmMute) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "device": row.device_id,
        "created": iso(row.created_at),
        "until": iso(row.until),
        "by": row.by,
        "why": row.why,
    }


def command(session: Session, row: Command, whole: bool = False) -> dict[str, Any]:
    """A command, its history, and the size of its output; `whole`: also the output itself and the arguments."""
    answer = command_list(session, [row])[0]
    if whole:
        answer["arguments"] = None if row.message is None else _arguments(row.message)
        answer["output"], answer["missing_parts"] = command_output.read(session, row)
    return answer


def command_list(session: Session, rows: Sequence[Command]) -> list[dict[str, Any]]:
    histories = commands.steps(session, rows)
    return [_command(row, histories[row.id]) for row in rows]


def _command(row: Command, history: Sequence[CommandStep]) -> dict[str, Any]:
    kids = row.kid.split()
    return {
        "cti": row.cti,
        "device": row.device_id,
        "opcode": row.opcode,
        "kid": kids[0],
        "kids": kids,
        "role": row.role,
        "nonce": row.nonce,
        "state": row.state,
        "outcome": row.outcome,
        "created": iso(row.created_at),
        "expires": iso(row.expires_at),
        "uplinked": iso(row.uplinked_at),
        "ended": iso(row.ended_at),
        "result": row.result,
        "why": row.why,
        "output_size": row.output_size,
        "truncated": row.truncated,
        "history": [{"at": iso(step.at), "state": step.state, "by": step.by, "why": step.why} for step in history],
    }


def _arguments(message: bytes) -> Any:
    try:
        return plain(cwt.decode(message)[0].arguments)
    except Refused:  # somebody edited the row
        return None


def data_target(row: DataTarget) -> dict[str, Any]:
    names = ("product", "board", "name", "version", "sequence", "digest", "size", "withdrawn", "held")
    return {**{name: getattr(row, name) for name in names}, "created": iso(row.created_at)}


def device_data(session: Session, device_id: str) -> dict[str, Any]:
    """The device's data components by name: what it holds, the last report, and the offer as in `offer`."""
    return data_rows(data.of_device(session, device_id))


def data_rows(rows: Sequence[DeviceData]) -> dict[str, Any]:
    """As `device_data`, of rows that were read."""
    return {row.name: _device_data(row) for row in rows}


def _device_data(row: DeviceData) -> dict[str, Any]:
    offered = None
    if row.offer is not None:
        state = offer_state.of_data(row)
        offered = {"version": row.offer.version, "sequence": row.offer.sequence, "state": state}
    return {"sequence": row.sequence, "digest": row.digest, "update": row.update, "offer": offered}


def release(row: Release) -> dict[str, Any]:
    return {
        "product": row.product,
        "vendor": row.vendor,
        "version": row.version,
        "sequence": row.sequence,
        "channel": row.channel,
        "created": iso(row.created_at),
        "targets": {
            target.board: {
                "image": {"digest": target.image_digest, "size": target.image_size},
                "patches": target.patches,
                "needs": {"sequence": target.needs_sequence, "micropython": target.needs_micropython},
                "manifest_digest": target.manifest_digest,
                "envelope_size": len(target.envelope),
                "withdrawn": target.withdrawn,
            }
            for target in row.targets
        },
    }


def webhook_delivery(row: WebhookDelivery) -> dict[str, Any]:
    return {
        "id": row.id,
        "message": row.message,
        "event": row.event,
        "at": iso(row.created_at),
        "state": row.state,
        "tries": row.tries,
        "status": row.status,
        "why": row.why,
        "next": iso(row.next_at) if row.state == "waiting" else None,
        "ended": iso(row.ended_at),
    }
