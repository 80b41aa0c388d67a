"""What happened to a device, each thing in one line for people."""

from __future__ import annotations

from typing import Any

from ota_server.store.models import Alarm, Audit, CommandStep, DeviceEvent
from ota_server.store.timeline import Entry
from tidegate.rollout import durations

_ACTS = {
    "device.register": "registered",
    "device.enrol": "enrolled",
    "device.credentials": "got new credentials",
    "device.revoke": "revoked",
}


def sentence(entry: Entry) -> str:
    row = entry.row
    if isinstance(row, DeviceEvent):
        return _EVENTS[row.kind](row.body)
    if isinstance(row, Alarm):
        times = f" × {row.count}" if row.count > 1 else ""
        return _with(f"{row.kind}: {row.reason}{times}", row.detail)
    if isinstance(row, Audit):
        return f"{_act(row.action, row.detail)}, by {row.actor}"
    if isinstance(row, CommandStep):
        return _with(f"{row.command.opcode} {row.state}", row.why)
    return _report(row.body)


def _birth(body: dict[str, Any]) -> str:
    trial = ", on trial" if body["trial"] else ""
    return (
        f"started {body['version']} #{body['sequence']}{trial} after {body['reset_cause']}, "
        f"MicroPython {body['micropython']}"
    )


def _offer(body: dict[str, Any]) -> str:
    what = {"release": "", "data": f"data {body.get('component')} ", "trust": "trust store version "}[body["of"]]
    if "version" not in body:
        return f"offer of {what.strip() or 'a release'} taken back"
    number = f" #{body['sequence']}" if "sequence" in body else ""
    return f"offered {what}{body['version']}{number}"


def _silence(body: dict[str, Any]) -> str:
    minutes = body["seconds"] // 60
    long = f"{minutes} min" if minutes < 120 else f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"
    return f"heard again after {long} of silence"


def _gap(body: dict[str, Any]) -> str:
    packs = f"{body['missing']} pack{'' if body['missing'] == 1 else 's'} of telemetry never came"
    told = f"; the device says it dropped {body['dropped']}" if body["dropped"] else ""
    return f"{packs}, seen on stream {body['stream']}{told}"


_EVENTS = {"birth": _birth, "offer": _offer, "silence": _silence, "gap": _gap}


def _report(body: dict[str, Any]) -> str:
    what = f"data {body['component']} " if "component" in body else ""
    text = f"{what}#{body['sequence']} {body['phase']}"
    progress = body.get("progress")
    if isinstance(progress, dict) and progress.get("total"):
        text += f", {min(100, 100 * progress['done'] // progress['total'])} %"
    if "again" in body and body["phase"] != "waiting":
        text += f", tries again in {body['again']} s"
    text = _with(text, body.get("detail"))
    if "again" in body and body["phase"] == "waiting":
        text += f", for {durations.words(body['again'])} at the latest"
    return text


def _act(action: str, detail: dict[str, Any]) -> str:
    if action == "device.move":
        return f"moved from group {detail.get('before')} to {detail.get('group')}"
    if action == "device.rename":
        return f"named {detail['name']}" if detail.get("name") else f"lost its name {detail.get('before')}"
    if action == "device.label":
        labels = [f"{key}={value}" if value is not None else f"no {key}" for key, value in detail["labels"].items()]
        return f"labelled {', '.join(labels)}"
    if action == "device.product":
        return f"registered anew as {detail.get('product')} on {detail.get('board')}"
    return _ACTS[action]


def _with(text: str, detail: str | None) -> str:
    return f"{text}: {detail}" if detail else text
