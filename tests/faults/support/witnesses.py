"""Simulated devices that note what was acknowledged to them, and an operator who notes what was answered to him."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tidegate.client.server import Server
from tidegate.commands import cwt
from tidegate.errors import TidegateError
from tidegate.simulate import board as boards
from tidegate.simulate import images
from tidegate.simulate.accounts import Account
from tidegate.simulate.board import Board
from tidegate.simulate.device import Device, Place
from tidegate.simulate.figures import Figures
from tidegate.simulate.http import Site
from tidegate.simulate.offers import Offers
from tidegate.simulate.outbox import TELEMETRY
from tidegate.simulate.scenario import Scenario, parse
from tidegate.trust.keys import Key
from tidegate.wire import cbor, messages, senml

SCENARIO = """\
[fleet]
image_bytes = 3000
sign_s = 0.5
[update]
apply_s = 0.1
restart_s = 0.1
trial_s = 0.1
interrupted = 0.5
[[phases]]
kind = "connect"
"""
STREAM = "n"
_DETAIL, _CTI = -260, 1


@dataclass
class Notes:
    """What devices heard as acknowledged, by device; and what the operator heard as done."""

    packs: dict[str, list[int]] = field(default_factory=dict)
    reports: dict[str, list[str]] = field(default_factory=dict)
    alarms: dict[str, list[str]] = field(default_factory=dict)
    heard: Counter[str] = field(default_factory=Counter)  # commands that arrived, by cti
    carried_out: Counter[str] = field(default_factory=Counter)  # by cti
    answered: set[str] = field(default_factory=set)  # commands whose result was acknowledged
    devices: list[str] = field(default_factory=list)
    payloads: list[str] = field(default_factory=list)
    releases: list[int] = field(default_factory=list)
    commands: dict[str, str] = field(default_factory=dict)  # cti: device
    refusals: Counter[str] = field(default_factory=Counter)


class Witness(Device):
    """A device with a stream of consecutive numbers, and reports and alarms that tell themselves apart."""

    notes: Notes
    said = 0

    def measure(self) -> int:
        self.said += 1
        self.say(TELEMETRY, f"tele/{STREAM}", senml.encode(self.id, [(STREAM, self.said, "1")], self.said))
        return self.said

    def say(self, kind: str, topic: str, payload: bytes, done: asyncio.Event | None = None) -> None:
        if kind == "result":
            self.notes.carried_out[cbor.loads(payload)[_CTI].hex()] += 1
        super().say(kind, topic, payload, done)

    def report(self, word: str) -> None:
        """A report of progress with this detail; nothing else is known by it."""
        facts = {"verdict": True, "lwm2m": [0, 0], "phase": 10, "sequence": self.running.sequence}
        said = messages.encode("report", nonce=self.nonce, detail=word, **facts)
        self.say("report", "report", said)

    def alarm(self, word: str) -> None:
        self.say("alarm", "alarm", messages.encode("alarm", kind="crash", reason=word, detail=word))

    def acknowledged(self, number: int) -> None:
        message = self.outbox.acknowledged(number)
        if message is None:
            return
        found = cbor.loads(message.payload) if message.kind != "birth" else {}
        if message.kind == TELEMETRY:
            self.notes.packs.setdefault(self.id, []).append(found[0][2])
        elif message.kind == "report" and str(found.get(_DETAIL, "")).startswith("w-"):
            self.notes.reports.setdefault(self.id, []).append(found[_DETAIL])
        elif message.kind == "alarm" and found[2].startswith("w-"):
            self.notes.alarms.setdefault(self.id, []).append(found[2])
        elif message.kind == "result":
            self.notes.answered.add(found[_CTI].hex())


class WitnessBoard(Board):
    def message(self, topic: str, payload: bytes) -> None:
        if topic.endswith("/cmd"):
            self.device.notes.heard[cwt.decode(payload)[0].cti.hex()] += 1  # type: ignore[attr-defined]
        super().message(topic, payload)


class Fleet:
    """Witnesses on an event loop of their own thread. rate: messages a second of each device while `talking`."""

    def __init__(self, accounts: list[Account], url: str, broker_port: int, running: images.Running, notes: Notes):
        boards._BACKOFF_S = (0.2, 0.4, 0.8)  # the test's server is back at once
        self.scenario: Scenario = parse(SCENARIO, "the witnesses")
        self.figures = Figures()
        place = Place(self.scenario, ("127.0.0.1", broker_port), None, Site.of(url), Offers(None))
        self.devices = [Witness(account, place, self.figures, running) for account in accounts]
        for device in self.devices:
            device.notes = notes
        self.talking = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._main = self._loop.create_task(self._live())
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._main)
        going = asyncio.all_tasks(self._loop)
        for task in going:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*going, return_exceptions=True))

    async def _live(self) -> None:
        for device in self.devices:
            WitnessBoard(device).connect()
        tick = 0
        while True:
            await asyncio.sleep(0.05)
            if not self.talking:
                continue
            tick += 1
            for device in self.devices:
                if len(device.outbox) < 30:  # else its ring would drop, which is not lost but was never acknowledged
                    device.measure()
                    if tick % 10 == 0:
                        device.report(f"w-{device.id}-{tick}")
                    if tick % 25 == 0:
                        device.alarm(f"w-{device.id}-{tick}")

    @property
    def waiting(self) -> int:
        return sum(len(device.outbox) for device in self.devices)

    @property
    def settled(self) -> bool:
        """Nothing waits, and nobody is in the middle of an update."""
        return not self.waiting and all(device.is_online and not device.trial for device in self.devices)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._main.cancel)
        self._thread.join(10)


class Operator:
    """Registers, uploads, publishes and commands, one after the other, in a thread; what is refused is counted."""

    def __init__(self, opened: Any, release: Key, command: Key, fleet: Fleet, notes: Notes, seed: int):
        self._opened = opened
        self._release, self._command = release, command
        self._fleet = fleet
        self._notes = notes
        self._dice = random.Random(seed)
        self._count = 0
        self._sequence = images.FIRST
        self._cti = time.time_ns() // 1000
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.failed: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Begin nothing more."""
        self._ended.set()

    def stop(self) -> None:
        self.end()
        self._thread.join(60)
        if self.failed is not None:
            raise self.failed

    def _run(self) -> None:
        acts = [self._register, self._upload, self._publish, self._ask, self._ask, self._ask]
        while not self._ended.wait(self._dice.uniform(0.02, 0.2)):
            try:
                with self._opened() as server:
                    self._dice.choice(acts)(server)
            except TidegateError as error:
                self._notes.refusals[error.message[:60]] += 1
                self._ended.wait(0.1)
            except BaseException as error:
                self.failed = error
                return

    def _register(self, server: Server) -> None:
        self._count += 1
        name = f"made-{self._count:04d}"
        server.add_device(name, "unix", "another-product")
        self._notes.devices.append(name)

    def _upload(self, server: Server) -> None:
        data = self._dice.randbytes(20_000)
        digest = hashlib.sha256(data).hexdigest()
        server.put_payload(digest, data)
        self._notes.payloads.append(digest)

    def _publish(self, server: Server) -> None:
        self._sequence += 1
        images.publish(server, self._fleet.scenario.fleet, 1, self._sequence, self._release)
        self._notes.releases.append(self._sequence)

    def _ask(self, server: Server) -> None:
        device, now = self._dice.choice(self._fleet.devices).id, int(time.time())
        self._cti += 1
        command = cwt.Command(device, "info", {}, self._cti.to_bytes(8, "big"), now, now + 3600)
        server.send_command(device, cwt.make(self._command, command))
        self._notes.commands[command.cti.hex()] = device


def accounts_of(server: Server, count: int) -> list[Account]:
    """Registered devices of the witnesses' product."""
    fleet = parse(SCENARIO, "the witnesses").fleet
    found = []
    for number in range(count):
        answer = server.add_device(f"witness-{number}", fleet.board, fleet.product)
        seed = hashlib.sha256(answer["id"].encode()).hexdigest()
        found.append(Account(answer["id"], answer["mqtt"]["password"], seed))
    return found
