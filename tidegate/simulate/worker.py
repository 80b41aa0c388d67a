"""One process with some of the boards, on one event loop. It does what the conductor says through a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tidegate.simulate import nature as natures
from tidegate.simulate.accounts import Account
from tidegate.simulate.board import Board
from tidegate.simulate.device import Device, Place
from tidegate.simulate.figures import Figures
from tidegate.simulate.http import Site
from tidegate.simulate.images import Running
from tidegate.simulate.offers import Offers
from tidegate.simulate.probe import Probe
from tidegate.simulate.scenario import Scenario
from tidegate.simulate.tls import client_context
from tidegate.trust import store as trust_store

_SAY_S = 0.5
_TICK_S = 0.02
_KEEP_ALIVE_S = 5
_BURST_S = 1.0  # of telemetry that is made up for after a pause of the loop


@dataclass(frozen=True)
class Task:
    """What one process gets. token: for looking up what the API shows; None: this process does not."""

    scenario: Scenario
    accounts: Sequence[Account]
    running: Running
    broker: tuple[str, int]
    broker_tls: bool
    server: str
    ca: Path | None
    trust: Path | None
    token: str | None


def main(pipe: Connection, task: Task) -> None:
    """The whole life of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the conductor hears it, and says what is to be done
    allow_connections()
    gc.freeze()
    with contextlib.suppress(KeyboardInterrupt, EOFError):
        asyncio.run(Worker(pipe, task).run())
    os._exit(0)  # thousands of tasks would be ended one by one


def allow_connections() -> int:
    """Each board is an open file; as many as the system lets this process have. Returns how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Worker:
    """The boards of one process."""

    def __init__(self, pipe: Connection, task: Task) -> None:
        self._pipe = pipe
        self._task = task
        self._figures = Figures()
        self._rate = 0.0
        self._stopped = asyncio.Event()
        self._boards: list[Board] = []
        self._going: set[asyncio.Task[Any]] = set()

    async def run(self) -> None:
        task = self._task
        tls = client_context(task.ca)
        site = Site.of(task.server, tls)
        offers = Offers(trust_store.load(task.trust) if task.trust else None)
        place = Place(task.scenario, task.broker, tls if task.broker_tls else None, site, offers)
        for account in task.accounts:
            self._boards.append(Board(Device(account, place, self._figures, task.running)))
        asyncio.get_running_loop().add_reader(self._pipe.fileno(), self._hear)
        loops = [self._say(), self._measure(), self._keep_alive()]
        if task.token is not None:
            loops.append(Probe(site, task.token, self._devices, self._figures).run())
        for loop in loops:
            self._start(loop)
        await self._stopped.wait()
        self._say_figures()

    @property
    def _devices(self) -> list[Device]:
        return [board.device for board in self._boards]

    def _start(self, work: Any) -> None:
        going = asyncio.ensure_future(work)
        self._going.add(going)
        going.add_done_callback(self._ended)

    def _ended(self, going: asyncio.Task[Any]) -> None:
        self._going.discard(going)
        if not going.cancelled() and going.exception() is not None:
            self._figures.errors[f"simulator: {going.exception()!r}"[:120]] += 1

    # ------------------------------------------------------------ what the conductor says

    def _hear(self) -> None:
        try:
            while self._pipe.poll():
                verb, *arguments = self._pipe.recv()
                getattr(self, f"_do_{verb}")(*arguments)
        except (EOFError, OSError):  # the conductor is gone
            self._stopped.set()

    def _do_connect(self, over_s: float) -> None:
        self._start(self._spread(over_s, lambda board, _: board.connect()))

    def _do_reconnect(self, over_s: float) -> None:
        """The power is away for all at once, and returns within over_s."""
        for number, device in enumerate(self._devices):
            device.restart(1 + over_s * number / len(self._boards), "power-on")

    def _do_rate(self, rate: float) -> None:
        """Packs a second, of this process."""
        self._rate = rate

    def _do_packs(self) -> None:
        """Answer with {device: packs that the broker has acknowledged}."""
        self._pipe.send(("packs", {device.id: device.filed_packs for device in self._devices}))

    def _do_stop(self) -> None:
        self._stopped.set()

    async def _spread(self, over_s: float, act: Any) -> None:
        began = time.monotonic()
        for number, board in enumerate(self._boards):
            wait = began + over_s * number / len(self._boards) - time.monotonic()
            if wait > 0.005:
                await asyncio.sleep(wait)
            elif number % 20 == 0:
                await asyncio.sleep(0)
            act(board, number)

    # ------------------------------------------------------------ what goes on all the time

    async def _say(self) -> None:
        while True:
            await asyncio.sleep(_SAY_S)
            self._say_figures()

    def _say_figures(self) -> None:
        gauges = self._figures.gauges
        gauges["online"] = sum(device.is_online for device in self._devices)
        gauges["waiting"] = sum(len(device.outbox) for device in self._devices)
        gauges["silent"] = sum(device.nature.fault == "silent" for device in self._devices)
        with contextlib.suppress(OSError):
            self._pipe.send(("figures", self._figures.plain()))

    async def _measure(self) -> None:
        """Telemetry at the rate of this moment, one board after the other."""
        devices = [device for device in self._devices if device.nature.fault != "silent"]
        due, at, before = 0.0, 0, time.monotonic()
        while devices:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            due = min(due + self._rate * (now - before), self._rate * _BURST_S)
            before = now
            while due >= 1:
                devices[at % len(devices)].measure()
                at, due = at + 1, due - 1

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(_KEEP_ALIVE_S)
            now = time.monotonic()
            for number, device in enumerate(self._devices):
                device.keep_alive(now)
                if number % 500 == 499:
                    await asyncio.sleep(0)


def faults(scenario: Scenario, ids: Sequence[str]) -> Counter[str]:
    """How many of these devices have which fault."""
    return Counter(natures.of(scenario, one).fault for one in ids)
