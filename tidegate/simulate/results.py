"""The figures of a run as one document, and as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidegate.simulate.course import PhaseResult
from tidegate.simulate.figures import Figures

_KINDS = ("birth", "state", "telemetry", "report", "result", "alarm", "probe")
_OUTCOMES = ("confirmed", "rolled back", "failed", "refused", "fetches", "fetches cut off", "bytes fetched")
_OTHER = ("connections", "links broken", "fell silent", "telemetry dropped", "commands answered", "offer heard")
_SUBJECTS = ("data confirmed", "data rolled back", "data failed", "data refused", "trust taken", "trust refused")
_TIMES = {"p50_ms": "p50 ms", "p99_ms": "p99 ms", "max_ms": "most ms"}
_WHAT = {"phase": "phase", "what": "what"}
_COLUMNS = {
    "Phases": {"name": "phase", "seconds": "s", "online": "online", "errors": "errors", "ended": "ended", "note": ""},
    "Messages": {**_WHAT, "sent": "sent", "acknowledged": "acknowledged", "per_s": "/s", **_TIMES},
    "Times": {**_WHAT, "count": "count", **_TIMES},
    "Processes": {**_WHAT, "cpu_s": "CPU s", "cpu_percent": "CPU %", "rss_mib": "MiB", "rss_most_mib": "most MiB"},
    "Errors": {**_WHAT, "count": "count"},
}


def phase(result: PhaseResult) -> dict[str, Any]:
    """One phase. Rates are a second of the whole phase."""
    figures = result.figures
    sent = [kind for kind in _KINDS if figures.counts[f"{kind} sent"]]
    counted = [name for name in (*_OUTCOMES, *_SUBJECTS, *_OTHER) if figures.counts[name]]
    return {
        "name": result.name,
        "kind": result.kind,
        "seconds": round(result.seconds, 2),
        "ended": result.ended,
        "complete": result.complete,
        "online": figures.gauges["online"],
        **result.facts,
        "messages": {kind: _messages(figures, kind, result.seconds) for kind in sent},
        "counts": {name.replace(" ", "_"): figures.counts[name] for name in counted},
        "times": {what: times.summary() for what, times in sorted(figures.times.items()) if times.count},
        "errors": dict(figures.errors.most_common()),
        "processes": result.usage,
    }


def _messages(figures: Figures, kind: str, seconds: float) -> dict[str, Any]:
    acknowledged = figures.counts[f"{kind} acknowledged"]
    return {
        "sent": figures.counts[f"{kind} sent"],
        "acknowledged": acknowledged,
        "per_s": round(acknowledged / max(seconds, 0.01), 1),
    }


def tables(document: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]], dict[str, str]]]:
    """(heading, rows, {key: column heading}) of each table that has rows."""
    phases: Sequence[dict[str, Any]] = document["phases"]
    found = {
        "Phases": [{**one, "errors": sum(one["errors"].values()), "note": _note(one)} for one in phases],
        "Messages": [
            {"phase": one["name"], "what": kind, **row, **_latency(one, f"{kind} acknowledged")}
            for one in phases
            for kind, row in one["messages"].items()
        ],
        "Times": [
            {"phase": one["name"], "what": what, **row}
            for one in phases
            for what, row in one["times"].items()
            if what.partition(" ")[0] not in _KINDS  # those are beside the messages
        ],
        "Processes": [
            {"phase": one["name"], "what": name, **row} for one in phases for name, row in one["processes"].items()
        ],
        "Errors": [
            {"phase": one["name"], "what": kind, "count": count}
            for one in phases
            for kind, count in one["errors"].items()
        ],
    }
    return [(heading, rows, _COLUMNS[heading]) for heading, rows in found.items() if rows]


def _latency(one: dict[str, Any], what: str) -> dict[str, Any]:
    times = one["times"].get(what, {})
    return {name: times.get(name) for name in ("p50_ms", "p99_ms", "max_ms")}


def _note(one: dict[str, Any]) -> str:
    names = [name.replace(" ", "_") for name in (*_OUTCOMES[:4], *_SUBJECTS)]
    said = [f"{one['counts'][name]} {name.replace('_', ' ')}" for name in names if name in one["counts"]]
    if "all_shown_s" in one:
        said.append(f"all shown after {one['all_shown_s']:g} s")
    return ", ".join(said)
