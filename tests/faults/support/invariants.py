"""What must hold after any fault: what was acknowledged is there, exactly once, in order; nothing is half."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

import httpx
from patience import limit, until
from witnesses import STREAM, Fleet, Notes

from ota_server.config import KEEP_ALARMS, KEEP_REPORTS

MOST = {"reports": KEEP_REPORTS, "alarms": KEEP_ALARMS}  # of a device
ENDS = {"confirmed", "failed", "refused", "expired", "cancelled"}


class Judged(Protocol):
    """A server, of one process or of several."""

    data: Path
    env: dict[str, str]

    def http(self) -> httpx.Client: ...
    def cli(self, *arguments: str) -> str: ...


def settle(server: Judged, fleet: Fleet, patience_s: float = 60) -> None:
    """Until every message of the witnesses is acknowledged, and every one runs what it is offered."""
    fleet.talking = False
    end, still = time.monotonic() + limit(patience_s), 0
    while still < 10:
        assert time.monotonic() < end, f"{fleet.waiting} messages wait; {dict(fleet.figures.errors)}"
        still = still + 1 if fleet.settled else 0
        time.sleep(0.1)
    with server.http() as http:
        until(
            "the newest release on each device", lambda: all(_runs(http, one.id) for one in fleet.devices), patience_s
        )
    until("an end of all updates", lambda: fleet.settled, patience_s)


def _runs(http: httpx.Client, device: str) -> bool:
    offer = _get(http, f"/devices/{device}")["offer"]
    return offer is None or offer["state"] == "running"


def check(server: Judged, fleet: Fleet, notes: Notes) -> dict[str, int]:
    """Asserts all of it; returns counts for people."""
    counted: Counter[str] = Counter()
    with server.http() as http:
        for device in fleet.devices:
            _telemetry(http, device.id, notes.packs.get(device.id, []), counted)
            _records(http, device.id, "reports", notes.reports.get(device.id, []), counted)
            _records(http, device.id, "alarms", notes.alarms.get(device.id, []), counted)
            _state(http, device, counted)
        _operator(http, notes, counted)
        _commands(http, notes, counted)
    assert "the audit log is whole" in server.cli("audit")
    database = server.data / "tidegate.db"
    if "TIDEGATE_DATABASE_URL" not in server.env:
        with sqlite3.connect(database) as found:
            assert found.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert found.execute("PRAGMA foreign_key_check").fetchall() == []
    assert not [path for path in _files(server.data) if path.stat().st_size == 0 and path.suffix == ".tmp"]
    return dict(counted)


def _telemetry(http: httpx.Client, device: str, acknowledged: list[int], counted: Counter[str]) -> None:
    """In the order of arrival; numbers rise, so that none is there twice, and all that were acknowledged are there."""
    values: list[int] = []
    after = 0
    while True:
        query: dict[str, Any] = {"stream": STREAM, "limit": 500, "after": after}
        page = _get(http, f"/devices/{device}/telemetry", **query)["telemetry"]
        if not page:
            break
        values += [int(row["value"]) for row in page]
        after = page[-1]["id"]
    twice = [number for number, count in Counter(values).items() if count > 1]
    lost = sorted(set(acknowledged) - set(values))
    assert not lost and not twice, f"{device}: lost {lost[:10]} of {len(acknowledged)}, twice {twice[:10]}"
    assert values == sorted(values), f"{device}: out of order"
    counted["packs"] += len(acknowledged)


def _records(http: httpx.Client, device: str, kind: str, acknowledged: list[str], counted: Counter[str]) -> None:
    rows: list[dict[str, Any]] = []
    before: dict[str, int] = {}
    while page := _get(http, f"/devices/{device}/{kind}", limit=500, **before)[kind]:
        rows += page
        before = {"before": page[-1]["id"]}
    found: Counter[str] = Counter()
    for row in rows:
        found[str(row.get("detail"))] += int(row.get("count", 1))
    held = acknowledged
    if len(rows) >= MOST[kind]:  # the oldest are deleted
        held = held[next((place for place, word in enumerate(held) if found[word]), 0) :]
    lost = [word for word in held if not found[word]]
    twice = [word for word in acknowledged if found[word] > 1]
    assert not lost, f"{device}: {kind} lost: {lost[:10]} of {len(acknowledged)}"
    counted[kind] += len(acknowledged)
    counted[f"{kind} twice"] += len(twice)


def _state(http: httpx.Client, device: Any, counted: Counter[str]) -> None:
    """The server shows what the device is."""
    shown = _get(http, f"/devices/{device.id}")
    assert (shown["sequence"], shown["digest"]) == (device.running.sequence, device.running.digest.hex())
    assert shown["nonce"] == device.nonce.hex() and shown["online"] and not shown["trial"]
    offer = shown["offer"]
    assert offer is None or (offer["sequence"], offer["state"]) == (device.running.sequence, "running"), offer
    counted["devices confirmed"] += offer is not None


def _operator(http: httpx.Client, notes: Notes, counted: Counter[str]) -> None:
    for name in notes.devices:
        assert _get(http, f"/devices/{name}")["id"] == name
    for digest in notes.payloads:
        answer = http.get(f"/p/{digest}")
        assert answer.status_code == 200 and hashlib.sha256(answer.content).hexdigest() == digest, digest
    listed = {one["sequence"]: one for one in _get(http, "/releases", limit=500)["releases"]}
    assert set(notes.releases) <= set(listed), set(notes.releases) - set(listed)
    for release in listed.values():  # also of those that nobody heard of
        for target in release["targets"].values():
            assert http.get(f"/p/{target['image']['digest']}").status_code == 200
    counted.update(devices=len(notes.devices), payloads=len(notes.payloads), releases=len(notes.releases))


def _commands(http: httpx.Client, notes: Notes, counted: Counter[str]) -> None:
    for cti, device in notes.commands.items():
        shown = _get(http, f"/commands/{cti}", device=device)
        # A server that died in between sends it again when its lease is over (decision 18).
        assert notes.carried_out[cti] <= 1, f"{cti} was carried out {notes.carried_out[cti]} times"
        counted["commands heard again"] += max(notes.heard[cti] - 1, 0)
        if cti in notes.answered:
            assert shown["state"] == "confirmed" and shown["outcome"] == "done", shown
        assert shown["history"][0]["state"] == "pending"
        states = [step["state"] for step in shown["history"]]
        assert len(states) == len(set(states)), states
    counted["commands"] += len(notes.commands)
    counted["commands answered"] += len(notes.answered & set(notes.commands))


def _get(http: httpx.Client, path: str, **query: Any) -> Any:
    """A server that has just come up may still be busy with what waited for it."""
    end = time.monotonic() + limit(20)
    while True:
        answer = http.get(f"/api/v1{path}", params=query)
        if answer.status_code != 503 or time.monotonic() > end:
            break
        time.sleep(0.2)
    assert answer.status_code == 200, f"{path}: {answer.text[:300]}"
    return answer.json()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
