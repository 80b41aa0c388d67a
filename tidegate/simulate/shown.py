"""What the server's API shows of the simulated fleet: who is there, what runs, and how many packs are filed."""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Sequence
from typing import Any

from tidegate.client.server import Server
from tidegate.simulate.images import Running

_STREAM = "env"
_CHECKED = 200  # devices whose packs are counted
_SETTLED_S = 3.0
_PAUSE_S = 0.5


class Shown:
    """Looks at the devices with these ids. unsteady: those whose connections break by themselves."""

    def __init__(self, server: Server, ids: Sequence[str], seed: int, unsteady: Collection[str] = ()) -> None:
        self._server = server
        self._ids = frozenset(ids)
        self._unsteady = frozenset(unsteady)
        self.checked = sorted(random.Random(seed).sample(list(ids), min(_CHECKED, len(ids))))
        self._packs_before: dict[str, int] = {}
        self._born: dict[str, Any] = {}
        self._next_look = 0.0

    def note_births(self) -> None:
        """Whatever was born before this does not count for `born`."""
        self._born = {one["id"]: one.get("born") for one in self._devices()}

    def born(self) -> int:
        """Devices that were born since `note_births` and are shown online, if they are not away at times."""
        return sum(
            one.get("born") != self._born.get(one["id"]) and (bool(one.get("online")) or one["id"] in self._unsteady)
            for one in self._devices()
        )

    def runs(self, running: Running) -> int:
        """Devices that are shown to run this, confirmed."""
        return sum(
            one.get("sequence") == running.sequence
            and one.get("digest") == running.digest.hex()
            and not one.get("trial")
            and (one.get("update") or {}).get("phase") in ("confirmed", "current")
            for one in self._devices()
        )

    def may_look(self) -> bool:
        """Whether it is time: a look at a large fleet costs the server much, so it pauses for longer than it took."""
        return time.monotonic() >= self._next_look

    def note_packs(self) -> None:
        self._packs_before = self._packs()

    def filed(self, acknowledged: dict[str, int], patience_s: float) -> dict[str, Any]:
        """What became of the packs that the broker acknowledged, of the checked devices: it waits until all are filed,
        or nothing more comes."""
        end = time.monotonic() + patience_s
        before, changed = -1, time.monotonic()
        while True:
            now = self._packs()
            filed = {one: now.get(one, 0) - self._packs_before.get(one, 0) for one in self.checked}
            lost = {one: acknowledged.get(one, 0) - count for one, count in filed.items()}
            lost = {one: count for one, count in lost.items() if count > 0}
            if sum(filed.values()) != before:
                before, changed = sum(filed.values()), time.monotonic()
            over = time.monotonic()
            if not lost or over > end or over - changed > _SETTLED_S:
                break
            time.sleep(_PAUSE_S)
        return {
            "devices_checked": len(self.checked),
            "acknowledged": sum(acknowledged.get(one, 0) for one in self.checked),
            "filed": sum(filed.values()),
            "lost": sum(lost.values()),
            "lost_by_device": dict(sorted(lost.items(), key=lambda pair: -pair[1])[:10]),
        }

    def _packs(self) -> dict[str, int]:
        found = {}
        for one in self.checked:
            streams = self._server.telemetry_last(one, {"stream": _STREAM})["streams"]
            found[one] = next((int(stream["packs"]) for stream in streams if stream["stream"] == _STREAM), 0)
        return found

    def _devices(self) -> list[dict[str, Any]]:
        began = time.monotonic()
        found = [one for one in self._server.devices()["devices"] if one["id"] in self._ids]
        took = time.monotonic() - began
        self._next_look = time.monotonic() + max(_PAUSE_S, 3 * took)
        return found
