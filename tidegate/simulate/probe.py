"""How long it takes until the API shows what the broker has acknowledged: one measurement at a time is followed."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence

from tidegate.simulate import http
from tidegate.simulate.device import Device
from tidegate.simulate.figures import Figures
from tidegate.simulate.nature import GOOD
from tidegate.wire import senml

_EACH_S = 1.0
_LOOK_S = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
_GIVE_UP_S = 120
_STREAM, _NAME = "probe", "probe"
_OK = 200


class Probe:
    """Sends a number on a stream of its own, and looks until the server shows it."""

    def __init__(self, site: http.Site, token: str, devices: Sequence[Device], figures: Figures) -> None:
        self._site = site
        self._token = token
        self._devices = [device for device in devices if device.nature.fault == GOOD]
        self._figures = figures
        self._number = random.getrandbits(28)

    async def run(self) -> None:
        while self._devices:
            await asyncio.sleep(_EACH_S)
            device = random.choice(self._devices)
            if device.is_online and not device.trial:
                try:
                    await self._follow(device)
                except (OSError, TimeoutError, http.HttpError, ValueError, KeyError) as error:
                    self._figures.errors[f"probe: {str(error) or type(error).__name__}"[:80]] += 1

    async def _follow(self, device: Device) -> None:
        self._number += 1
        acknowledged = asyncio.Event()
        pack = senml.encode(device.id, [(_NAME, self._number, "1")], device.next_pack())
        device.say("probe", f"tele/{_STREAM}", pack, acknowledged)
        async with asyncio.timeout(_GIVE_UP_S):
            await acknowledged.wait()
        began, look = time.monotonic(), 0
        while time.monotonic() - began < _GIVE_UP_S:
            if await self._shown(device.id) == self._number:
                self._figures.took("acknowledged until shown", time.monotonic() - began)
                return
            await asyncio.sleep(_LOOK_S[min(look, len(_LOOK_S) - 1)])
            look += 1
        raise http.HttpError(f"not shown within {_GIVE_UP_S} s")

    async def _shown(self, name: str) -> float | None:
        began = time.monotonic()
        path = f"/api/v1/devices/{name}/telemetry/last?stream={_STREAM}"
        answer = await http.get(self._site, path, token=self._token)
        self._figures.took("API answer", time.monotonic() - began)
        if answer.status != _OK:
            raise http.HttpError(f"API status {answer.status}")
        found = json.loads(answer.body)["last"]
        return next((one["value"] for one in found if one["name"] == _NAME), None)
