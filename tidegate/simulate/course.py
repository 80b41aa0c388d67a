"""The course of a run: one phase of the scenario after the other, what is measured in each, and when it has ended."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tidegate.client.server import Server
from tidegate.client.transport import ServerError
from tidegate.commands import cwt
from tidegate.simulate import images, usage
from tidegate.simulate import nature as natures
from tidegate.simulate.crew import Crew
from tidegate.simulate.figures import Figures
from tidegate.simulate.scenario import (
    Commands,
    Connect,
    Idle,
    Phase,
    Reconnect,
    Release,
    Rollout,
    Scenario,
    Telemetry,
)
from tidegate.simulate.shown import Shown
from tidegate.simulate.subjects import Subjects
from tidegate.trust import keys

_LISTEN_S = 0.25
_COMMAND_LIFE_S = 3600
_BUSY = (429, 503)
_ROLLOUT_S = 1.0  # between two looks at a rollout

Line = Callable[[str], None]


@dataclass
class PhaseResult:
    """What one phase came to. ended: how; complete: whether it came to the end that it was to come to."""

    name: str
    kind: str
    seconds: float
    figures: Figures
    ended: str
    complete: bool
    usage: dict[str, dict[str, float]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


class Course:
    """Runs the phases. watched: {name: pid} of processes whose CPU and memory are measured."""

    def __init__(
        self,
        scenario: Scenario,
        ids: Sequence[str],
        server: Server,
        crew: Crew,
        shown: Shown,
        running: images.Running,
        watched: dict[str, int],
        line: Line,
    ) -> None:
        self._scenario = scenario
        self._ids = ids
        self._server = server
        self._crew = crew
        self._shown = shown
        self._subjects = Subjects(server, scenario, running)
        self._watched = watched
        self._line = line
        self._speaking = [one for one in ids if natures.of(scenario, one).fault != "silent"]
        self._dice = random.Random(f"{scenario.seed} course")
        self._facts: dict[str, Any] = {}
        self.results: list[PhaseResult] = []

    def run(self) -> None:
        """All phases; results grow as they end, also when this is interrupted."""
        for number, phase in enumerate(self._scenario.phases, 1):
            self._run_phase(f"{number}/{len(self._scenario.phases)} {phase.title}", phase)

    def _run_phase(self, title: str, phase: Phase) -> None:
        self._crew.listen(_LISTEN_S)
        before, began = self._crew.figures, time.monotonic()
        used = {name: usage.of(pid) for name, pid in self._watched.items()}
        peak = {name: found.rss_mib for name, found in used.items() if found}
        self._facts = {}
        self._crew.set_rate(phase.rate)
        ended, complete = "interrupted", False
        try:

            def look() -> Figures:
                """Listen, show the line, and give the figures of this phase."""
                self._crew.listen(_LISTEN_S)
                for name, pid in self._watched.items():
                    found = usage.of(pid)
                    if found:
                        peak[name] = max(peak.get(name, 0.0), found.rss_mib)
                figures = self._crew.figures.since(before)
                self._line(_progress(title, time.monotonic() - began, figures, len(self._ids)))
                return figures

            ended, complete = self._go(phase, look)
        finally:
            self._crew.set_rate(None)
            self._crew.listen(0.6)
            seconds = time.monotonic() - began
            result = PhaseResult(
                phase.title, phase.kind, seconds, self._crew.figures.since(before), ended, complete, facts=self._facts
            )
            for name, pid in self._watched.items():
                old, new = used.get(name), usage.of(pid)
                if old and new:
                    cpu = new.cpu_s - old.cpu_s
                    result.usage[name] = {
                        "cpu_s": round(cpu, 2),
                        "cpu_percent": round(100 * cpu / seconds, 1),
                        "rss_mib": round(new.rss_mib, 1),
                        "rss_most_mib": round(max(peak.get(name, 0.0), new.rss_mib), 1),
                    }
            self.results.append(result)

    # ------------------------------------------------------------ kinds of phases: (how it ended, whether complete)

    def _go(self, phase: Phase, look: Callable[[], Figures]) -> tuple[str, bool]:
        match phase:
            case Connect():
                return self._connect(phase, look)
            case Reconnect():
                return self._reconnect(phase, look)
            case Release():
                return self._release(phase, look)
            case Rollout():
                return self._rollout(phase, look)
            case Commands():
                return self._commands(phase, look)
            case Telemetry() | Idle():
                return self._for(phase.seconds, look)

    def _connect(self, phase: Connect, look: Callable[[], Figures]) -> tuple[str, bool]:
        self._shown.note_births()
        self._crew.tell("connect", phase.over_s)
        return self._until_shown(phase.timeout_s, look)

    def _reconnect(self, phase: Reconnect, look: Callable[[], Figures]) -> tuple[str, bool]:
        self._shown.note_births()
        self._crew.tell("reconnect", phase.over_s)
        return self._until_shown(phase.timeout_s, look)

    def _until_shown(self, timeout_s: float, look: Callable[[], Figures]) -> tuple[str, bool]:
        began, everybody = time.monotonic(), len(self._ids)
        connected_at = shown = None
        while time.monotonic() - began < timeout_s:
            figures = look()
            there = figures.counts["birth acknowledged"] >= everybody
            if there and connected_at is None:
                connected_at = time.monotonic() - began
                self._facts["all_acknowledged_s"] = round(connected_at, 2)
            if there and self._shown.may_look():
                shown = self._try(self._shown.born)
                if shown == everybody:
                    took = time.monotonic() - began
                    self._facts |= {"shown": shown, "all_shown_s": round(took, 2)}
                    return "all are shown", True
        self._facts["shown"] = self._try(self._shown.born)
        return f"{self._facts['shown']} of {everybody} are shown after {timeout_s:g} s", False

    def _for(self, seconds: float, look: Callable[[], Figures]) -> tuple[str, bool]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            look()
        return f"after {seconds:g} s", True

    def _release(self, phase: Release, look: Callable[[], Figures]) -> tuple[str, bool]:
        began = time.monotonic()
        if phase.key is not None:
            key, fleet, seed = keys.load(phase.key), self._scenario.fleet, self._scenario.seed
            base, sequence = self._subjects.running.sequence, self._subjects.running.sequence + 1
            if phase.patch and base == images.FIRST and not self._server.releases().get("releases"):
                images.publish(self._server, fleet, seed, base, key)
            patched = phase.patch and self._subjects.running.digest == images.running(fleet, seed, base).digest
            self._subjects.running = images.publish(self._server, fleet, seed, sequence, key, base if patched else None)
            self._facts |= {"published_s": round(time.monotonic() - began, 2), "sequence": sequence, "patch": patched}
        everybody = len(self._ids)
        ended = 0
        while time.monotonic() - began < phase.timeout_s:
            figures = look()
            counts = figures.counts
            ended = sum(counts[word] for word in ("confirmed", "rolled back", "failed", "refused"))
            if ended + figures.gauges["silent"] >= everybody:
                self._facts["all_ended_s"] = round(time.monotonic() - began, 2)
                return self._until_running(phase, began, counts["confirmed"], look)
        return f"{ended} of {everybody} updates have ended after {phase.timeout_s:g} s", False

    def _until_running(
        self, phase: Release, began: float, confirmed: int, look: Callable[[], Figures]
    ) -> tuple[str, bool]:
        """Until the API shows what the devices have confirmed."""
        if phase.key is None:
            return "all updates have ended", True
        shown = None
        while time.monotonic() - began < phase.timeout_s:
            look()
            if self._shown.may_look():
                shown = self._try(lambda: self._shown.runs(self._subjects.running))
                if shown is not None and shown >= confirmed:
                    self._facts |= {"shown": shown, "all_shown_s": round(time.monotonic() - began, 2)}
                    return "all updates have ended and are shown", True
        return f"{shown} of {confirmed} confirmed updates are shown after {phase.timeout_s:g} s", False

    def _rollout(self, phase: Rollout, look: Callable[[], Figures]) -> tuple[str, bool]:
        began, product = time.monotonic(), self._scenario.fleet.product
        version, sequence, new = self._subjects.publish(phase)
        self._server.waves.start(product, version, phase.terms)
        self._facts |= {"version": version, "sequence": sequence, "state": "running"}
        next_look, shown = 0.0, 0
        while time.monotonic() - began < phase.timeout_s:
            look()
            if time.monotonic() < next_look:
                continue
            asked = time.monotonic()
            try:
                found = self._server.waves.status(product, version)
            except ServerError as error:
                self._facts.setdefault("api_errors", []).append(error.message[:100])
                continue
            finally:
                next_look = time.monotonic() + max(_ROLLOUT_S, time.monotonic() - asked)
            self._facts |= {name: found[name] for name in ("state", "wave", "why", "failed")}
            self._facts["states"] = {state: many for state, many in found["counts"].items() if many}
            if found["wave"] > shown:
                shown = found["wave"]
                self._facts[f"wave_{shown}_s"] = round(time.monotonic() - began, 1)
            if found["state"] != "running":
                self._facts["health"] = [one["text"] for one in found["health"]]
                if found["state"] == "done":
                    self._subjects.running = new
                ended = f"{found['state']} in wave {found['wave']}: {found['why']}"
                return ended, phase.ends in (None, found["state"])
        return f"still running after {phase.timeout_s:g} s: {self._facts.get('why')}", False

    def _commands(self, phase: Commands, look: Callable[[], Figures]) -> tuple[str, bool]:
        key, began, sent = keys.load(phase.key), time.monotonic(), 0
        self._facts |= {"sent": 0, "refused": 0, "over_bad_links": 0}
        answered = 0
        while time.monotonic() - began < phase.timeout_s:
            while sent < phase.count and sent < phase.per_s * (time.monotonic() - began):
                if self._send(key, phase):
                    sent += 1
                    self._facts["sent"] = sent
                else:
                    break
            answered = look().counts["result acknowledged"]
            if sent >= phase.count and answered >= sent:
                return "all commands are answered", True
        # A command is carried out once or not at all: one that a link lost as it broke is not sent again.
        complete = sent >= phase.count and answered >= sent - self._facts["over_bad_links"]
        return f"{answered} of {sent} commands are answered after {phase.timeout_s:g} s", complete

    def _send(self, key: keys.Key, phase: Commands) -> bool:
        device, now = self._dice.choice(self._speaking), int(time.time())
        counter = cwt.next_counter(phase.key)
        command = cwt.Command(device, phase.opcode, {}, counter, now, now + _COMMAND_LIFE_S)
        try:
            self._server.send_command(device, cwt.make(key, command))
        except ServerError as error:
            if error.status not in _BUSY:
                raise
            self._facts["refused"] += 1
            return False
        self._facts["over_bad_links"] += natures.of(self._scenario, device).fault == "bad_link"
        return True

    def _try(self, look: Callable[[], int]) -> int | None:
        """What the API shows, None if it did not answer: a server under load may be late."""
        try:
            return look()
        except ServerError as error:
            self._facts.setdefault("api_errors", []).append(error.message[:100])
            return None


def _progress(title: str, seconds: float, figures: Figures, everybody: int) -> str:
    counts, gauges = figures.counts, figures.gauges
    rate = counts["telemetry acknowledged"] / max(seconds, 0.1)
    parts = [f"{title}  {seconds:.0f} s", f"{gauges['online']}/{everybody} online"]
    if counts["telemetry sent"]:
        parts.append(f"telemetry {rate:.0f}/s")
    if gauges["waiting"]:
        parts.append(f"{gauges['waiting']} waiting")
    ended = [f"{counts[word]} {word}" for word in ("confirmed", "rolled back", "failed", "refused") if counts[word]]
    errors = figures.errors.total()
    return "  ".join([*parts, *ended, *([f"{errors} errors"] if errors else [])])
