"""Files what devices say about what came down to them, and about themselves: reports, results, alarms."""

from __future__ import annotations

import hashlib
from typing import Any

from ota_server.store import (
    alarms,
    command_output,
    commands,
    data,
    offers,
    phases,
    rollout_reports,
    settings,
    webhooks,
)
from ota_server.store.models import Device, Report
from ota_server.uplink.batch import Batch
from ota_server.uplink.reading import Said
from ota_server.uplink.text import clean, clean_text
from tidegate.wire.messages import WAITING

_UNDER_WAY = ("offered", *phases.BUSY)


def content(said: Said) -> str:
    """What knows a message that is sent again: a report has its boot's nonce, an alarm only its words."""
    return hashlib.sha256(said.message.payload).hexdigest()[:32]


def report(batch: Batch, device: Device, said: Said) -> None:
    """One step of an update. A report that differs from the last one in no more than its progress replaces it."""
    body, digest = {**said.body, "phase": _phase(said.body)}, content(said)
    last = batch.last_report(device.id)
    again = said.message.again or _is_of_a_boot_before(device, body)
    occurrence: int | None
    if last is not None and last.content == digest and not again:
        occurrence = last.occurrence
    else:
        occurrence = batch.next_occurrence("report", device.id, digest, again)
    if occurrence is None:
        batch.count("reports that came again")
        return
    phase, sequence = body["phase"], body["sequence"]
    is_new = last is None or not (last.content == digest or _only_progress(last.body, body))
    if last is not None and not is_new:
        last.body, last.at, last.content, last.occurrence = body, batch.now, digest, occurrence
    else:
        new = Report(device_id=device.id, sequence=sequence, phase=phase, body=body)
        new.content, new.occurrence = digest, occurrence
        batch.add_report(new)
    if said.message.retained:
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
        "again_s": body.get("again") if phase in phases.FAILED else None,
        "at": batch.now,
    }
    if phase == "waiting":
        status["until"] = _until(body, batch.now)
    failed = phase in phases.FAILED and "again" not in body
    tries = phase in _UNDER_WAY or (phase in phases.FAILED and not failed)
    if failed and is_new:
        facts = {name: body.get(name) for name in ("phase", "sequence", "component", "verdict", "detail")}
        webhooks.announce(batch.session, "device.failed", {"device": device.id, **facts})
    grants = batch.granted(device)
    if "component" in body:
        name = body["component"]
        data.reported(batch.session, device.id, name, status, failed, tries)
        of_it = (grants, name, sequence, phase, body.get("detail"), body.get("again"), batch.now)
        if rollout_reports.on_data_report(*of_it):
            data.derive(batch.session, [device.id], name)
        return
    device.update = status
    rollout_reports.on_report(grants, sequence, phase, body.get("detail"), body.get("again"), batch.now)
    if failed:
        device.failed_sequence = max(sequence, device.failed_sequence or 0)
    elif tries and device.failed_sequence == sequence:
        device.failed_sequence = None  # it has begun again, so the verdict of before is out of date
    elif phase == "confirmed":
        device.trial = False


def _is_of_a_boot_before(device: Device, body: dict[str, Any]) -> bool:
    """Whether a board that has started anew since says it: it had stored the report, and may have said it before."""
    return device.nonce is not None and body["nonce"] != device.nonce


def _phase(body: dict[str, Any]) -> str:
    """The phase; `waiting` for an image that is installed while the application is not ready to restart, which a device
    says in words so that older servers take the report."""
    waits = body["phase"] == "applying" and body.get("detail") == WAITING
    return "waiting" if waits else str(body["phase"])


def _until(body: dict[str, Any], now: int) -> int | None:
    """When an image that waits for the application goes on at the latest, in ms; older agents do not say it."""
    return now + 1000 * int(body["again"]) if "again" in body else None


def _only_progress(last: dict[str, Any], body: dict[str, Any]) -> bool:
    same = all(last.get(name) == body.get(name) for name in ("phase", "sequence", "nonce", "verdict", "component"))
    return same and "progress" in last and "progress" in body


def result(batch: Batch, device: Device, said: Said) -> None:
    """The answer to a command, or a part of it."""
    body = dict(said.body)
    cti, outcome, part = body.pop("cti"), body["code"], body.pop("part", None)
    if outcome == "running":
        known = commands.get(batch.session, cti, device.id)
        if known is None:
            _unknown(batch)
        else:
            command_output.add(batch.session, known, part["number"], clean_text(body["text"]))
        return
    answer = {name: clean(value) for name, value in body.items() if name != "answer"}
    if "answer" in body:
        answer["answer"] = clean(body["answer"], clean_text)
    if "proof" in body:
        answer["signed"] = said.message.payload.hex()  # what the proof is about, as it came
    parts = None if part is None else part["number"]
    row = commands.answered(batch.session, device.id, cti, outcome, answer, answer.get("why"), parts)
    if row is None:
        _unknown(batch)
    elif outcome == "done":
        settings.note_answer(batch.session, device, row.opcode, answer.get("answer"))
        if row.opcode == "update.retry":  # it forgot what it refused, and now needs to hear it
            offers.send_again(batch.session, device)


def _unknown(batch: Batch) -> None:
    batch.count("results of unknown commands")


def alarm(batch: Batch, device: Device, said: Said) -> None:
    """Something that should not have happened, as the device says it."""
    digest, body = content(said), clean(said.body)
    if body["kind"] == "crash":
        if batch.is_crash_known(device, digest):
            batch.count("alarms that came again")
            return
    elif _was_said_before_the_boot(batch, device, digest):
        return
    # A command is refused once: what says so in the same words came again.
    occurrence = batch.next_occurrence("alarm", device.id, digest, said.message.again or "cti" in body)
    if occurrence is None:
        return
    kind, reason, cti = body["kind"][:32], body["reason"][:32], body.get("cti")
    count = min(body.get("suppressed", 0) or 0, 1_000_000) + 1 if isinstance(body.get("suppressed", 0), int) else 1
    detail, trace = body.get("detail"), said.body.get("trace")
    detail, trace = detail and detail[:256], trace and clean_text(trace)
    row = alarms.add(batch.session, device.id, kind, reason, detail, cti, count, trace, digest, occurrence)
    batch.add_alarm(device.id, row)
    if kind == "trust-refused":
        rollout_reports.on_trust_refused(
            batch.granted(device), device, f"{reason}: {detail}" if detail else reason, batch.now
        )
    if kind == "command-refused" and cti is not None:
        commands.declined(batch.session, device.id, cti, f"{reason}: {detail}" if detail else reason)


def _was_said_before_the_boot(batch: Batch, device: Device, digest: str) -> bool:
    """Whether the alarm is the device's last one of the boot before, in the same words: it had stored it, and did not
    hear that it had arrived.
    """
    last = batch.last_alarm(device.id)
    if last is None or last.content != digest or device.birth_at is None:
        return False
    if last.last_at >= device.birth_at:
        return False
    last.last_at = batch.now
    batch.count("alarms that came again")
    return True
