"""A simulated gateway in its world: the real loader, agent and update, on a simulated board, network and clock.

Only what is not ours is simulated: flash, files, power, the broker and the payload server, and time, which passes as
fast as the tasks ask for it. `World.run` boots the board again and again, as a real one would be, until the wanted
report is there.
"""

# ruff: noqa: E402, I001 - the clock is replaced before the agent is imported
import asyncio
import hashlib
import os
import sys

import aiotcp
import check

_now = [0]  # ms of simulated time in this boot
_limit = [0, None]  # a time, and what is called when it has come


_sleeper = [None]  # another way to let time pass, see sim_peers.py


async def _sleep_ms(ms):
    if _sleeper[0]:
        await _sleeper[0](ms)
    else:
        _now[0] += ms
    if _now[0] > _limit[0]:
        _limit[1]()
    await asyncio.sleep(0)


# Before anything of the agent is imported: it takes its clock from here, and would else wait for real.
if "gate.clock" in sys.modules:
    raise ImportError("import sim_gateway before anything of gate")
aiotcp.ticks_ms = lambda: _now[0]
aiotcp.ticks_diff = lambda later, earlier: later - earlier
aiotcp.sleep_ms = _sleep_ms

import cbor
from boot import flash, loader, slots
from http_client import get as http_client_get
from http_client.get import HttpError
from sim_board import SimBoard
from sim_files import Files
from gate import LinkError, ondemand
from gate import agent as agent_module
from gate import compose as compose_module
from gate.reporting import reports
from gate.tasks import Job

_COMMANDS = ("gate.commands.", "gate.enrolment")  # nobody sends any here


def envelope(name):
    """The signed manifest of this name in tests/vectors/wire.json."""
    for entry in check.vectors("wire"):
        if entry.get("name") == name:
            return bytes.fromhex(entry["data"])
    raise ValueError("tests/vectors/wire.json has no entry " + name)


def _modules(package):
    """Names of all modules of firmware/lib, those below the dotted `package` that ends with a dot."""
    found = []
    for entry in os.listdir(check.root() + "/firmware/lib/" + package.replace(".", "/")):
        stem, _, suffix = entry.rpartition(".")
        if stem == "__init__":
            found.append(package[:-1])
        elif suffix in ("py", "mpy"):
            found.append(package + stem)
        elif not suffix.startswith("_") and "." not in entry:
            found += _modules(package + entry + ".")
    return found


def _on_demand(name):
    return any(ondemand._covers(entry, name) for entry in ondemand._ON_DEMAND.split())


# Loaded once and for all: a test boots thousands of times, and on this ground modules are compiled each time they are
# loaded. That they are let go of, and what then remains, is for test_ondemand.py and the emulated board.
for _name in _modules("") + ["boot." + name for name in loader._UNLOADED.split()]:
    if _name.startswith(_COMMANDS) or not _name.startswith("boot.") and not _on_demand(_name):
        continue
    try:
        __import__(_name)
    except (ImportError, SyntaxError, ValueError):  # for other cores
        pass
# Nor is a table of a key made in each world (test_key_tables.py does), or a heap collected that is large here.
sys.modules["ed25519"].native = lambda: True


class _LargeHeap:
    @staticmethod
    def collect():
        pass


for _name, _module in list(sys.modules.items()):
    if _name.startswith(("gate.", "boot.")) and hasattr(_module, "gc"):
        _module.gc = _LargeHeap

PIECE = 300  # bytes the payload server sends at a time
MOST_MS = 4 * 3600 * 1000  # of simulated time in one boot, before the test gives up
CONFIG = (
    '{"device": "gateway-1", "product": "tidegate-gateway", "vendor": "tidegate.example", "board": "simulated",'
    ' "mqtt": {"host": "broker", "port": 1883}, "payloads": "http://server:80/", "log_level": "error"}'
)
CREDENTIALS = '{"user": "gateway-1", "password": "secret"}'


class World:
    """One gateway and what is around it.

    heard: every message it published, (topic under up/, decoded message), in order. offer, trust: what is
    retained there for it, or None. online: whether broker and server are there. fetches: (path, offset) of each
    GET. behave: {sequence number: function(boot)} for images that do something else than run the agent.
    """

    def __init__(self):
        self.board = SimBoard("", slots=check.settings.get("slots", "rom"))
        self.board.files = self.files = Files(self.board)
        self.board.folder = self.files.folder + "/tg"
        self.offer = None
        self.trust = None
        self.data_offers = {}  # name -> retained offer of a data component
        self.takers = None  # {name: function(path)}, the application's
        self.after_offer = []  # what comes right after the offer
        self.every = None  # called with the seconds of this boot, every second or so
        self.online = True
        self.heard = []
        self.fetches = []
        self.behave = {}
        self.health = None
        self.ready = None  # the application's
        self.on_boot = None  # called with each Boot before its image runs
        self.on_get = None  # called at each GET
        self.payloads = {}  # path -> bytes
        self.losses = []  # bytes after which the next GETs lose the connection
        self.boots = []  # of (slot, sequence, on trial)
        self.applications = []  # numbers of the boots, from 1, in which the application ran
        self.link = None
        self.agent = None  # of the last boot in which the application ran
        self.images = {}
        self._wanted = None
        self.setup = next(check.vectors("wire"))  # it is the first
        for entry in check.vectors("wire_payloads"):
            data = bytes.fromhex(entry["data"])
            self.payloads["/p/" + entry["digest"]] = data
            if entry["kind"] == "image":
                self.images[entry["number"]] = data

    def flash(self, number=1, manifest=None, options=None):
        """Does with the board what flashing does. manifest: the image's envelope; options: text of boot.json."""
        folder = self.board.folder
        for path in (folder, folder + "/state"):
            os.mkdir(path)
        for name, text in (("config.json", CONFIG), ("credentials.json", CREDENTIALS)):
            with open(folder + "/" + name, "w") as file:
                file.write(text)
        with open(folder + "/trust.cbor", "wb") as file:
            file.write(bytes.fromhex(self.setup["trust"]))
        with open(folder + "/release.json", "w") as file:
            file.write('{"product": "tidegate-gateway", "version": "any"}')
        with open(folder + "/image", "wb") as file:
            file.write(self.images[number])
        path = None
        if manifest:
            path = folder + "/manifest"
            with open(path, "wb") as file:
                file.write(manifest)
        if options:
            with open(folder + "/boot.json", "w") as file:
                file.write(options)
        flash.install(self.board, folder + "/image", _sha256(self.images[number]), number, path)
        os.remove(folder + "/image")
        if path:
            os.remove(path)

    def close(self):
        self.files.close()

    def snapshot(self):
        return self.board.snapshot()

    def restore(self, snapshot):
        self.board.restore(snapshot)
        self.heard, self.fetches, self.boots, self.applications, self.losses = [], [], [], [], []

    def run(self, phase=None, sequence=None, boots=40, wanted=None):
        """Boots the board until it reports `phase` (about `sequence`), or wanted(topic, message) is true.

        Returns the message. Fails when that takes more than so many boots, or when a boot finds no slot.
        """

        def reported(topic, message):
            right = topic == "report" and message[-258] == phase
            return right and (sequence is None or message[-259] == sequence)

        self._wanted = wanted or reported
        for _ in range(boots):
            if self.boot() == "stopped":
                if self._late:
                    raise AssertionError("nothing more in simulated hours: %s" % self.phases())
                return self._found
        raise AssertionError("not after %d boots: %s" % (boots, self.phases()))

    def idle(self, seconds=1800):
        """Lets the board run for so long, and boot as often as it wants to; everything has been sent afterwards."""
        self._wanted = None
        while self.boot(seconds * 1000) != "stopped":
            pass

    def boot(self, most_ms=MOST_MS):
        """One boot; how it ended, see SimBoard.boot."""
        if hasattr(asyncio, "new_event_loop") and sys.implementation.name == "micropython":
            asyncio.new_event_loop()  # what the last boot left belongs to a board that is gone
        self.link = None
        self._late = False
        _now[0] = 0
        _limit[:] = most_ms, self._too_long
        ran = len(self.boots)
        end = self.board.boot(lambda board: loader.run(board, self._launch))
        if len(self.boots) == ran and end != "cut":
            raise AssertionError("safe mode")
        return end

    def phases(self):
        """What was reported about updates, as words."""
        return [PHASES[message[-258]] for topic, message in self.heard if topic == "report"]

    def go(self, online):
        self.online = online

    def damage_slot(self, name, offset):
        """Flips a bit of one byte of a slot."""
        self.board.damage_slot(slots.NAMES.index(name), offset)

    def state_names(self):
        """The agent's files."""
        return os.listdir(self.board.folder + "/state")

    def slots(self):
        return flash.status(self.board)

    def _launch(self, boot):
        while ondemand.modules._users:  # the boot before ended inside; a real board begins anew
            ondemand.modules.__exit__(None, None, None)
        self.boots.append((boot.slot, boot.running.sequence, boot.trial))
        if self.on_boot:
            self.on_boot(boot)
        special = self.behave.get(boot.running.sequence)
        if special:
            special(boot)
            return
        # The agent lets go of it; it would be compiled again at each boot.
        sys.modules["gate.compose"] = sys.modules["gate"].compose = compose_module
        compose_module._RELEASE = self.board.folder + "/release.json"
        compose_module._link = lambda *given: _Link(self, *given)
        http_client_get.get = self.get
        sys.modules["app"] = self  # its start() is the application's
        loader.application(boot)(boot)

    def start(self, boot):
        """What the loader finds in the application."""
        self.applications.append(len(self.boots))
        self.agent = agent_module.Agent(boot, (), self.health or agent_module.healthy, self.takers, self.ready)
        self.agent.run()

    def _too_long(self):
        self._late = True
        self.board.stop()

    def hear(self, topic, payload):
        message = cbor.loads(payload)
        self.heard.append((topic, message))
        if self._wanted and self._wanted(topic, message):
            self._found = message
            self.board.stop()

    async def get(self, host, port, path, offset, sink, buf, max_size, timeout_s=30, ssl=None):
        """The payload server, as http_client.get.get."""
        self.fetches.append((path, offset))
        if self.on_get:
            self.on_get()
        if not self.online:
            raise HttpError(0, "no connection")
        if path not in self.payloads:
            raise HttpError(404, "not found")
        data = self.payloads[path]
        if offset > len(data):
            raise HttpError(416, "past the end")
        loss = self.losses.pop(0) if self.losses else None
        for at in range(offset, len(data), PIECE):
            if loss is not None and at - offset >= loss:
                raise HttpError(0, "connection lost")
            sink(memoryview(data)[at : at + PIECE])
            await asyncio.sleep(0)
        return len(data)


class _Link:
    """The connection, as gate.link.mqtt.Link."""

    def __init__(self, world, config, board, ssl=None):
        if ondemand.modules._users:
            raise AssertionError("what a link imports must stay, so it is made outside of ondemand.modules")
        self._world = world
        self._handlers = {}
        self.announced = False
        self.sessions = 0
        self.joined = Job()
        self.joined.set()
        world.link = self

    def deliver(self, data, name="offer"):
        self._handlers[name](data)

    @property
    def connected(self):
        return self.announced and self._world.online

    def subscribe(self, handlers):
        self._handlers = handlers

    def introduce(self, birth, state):
        self._birth, self._state = birth, state

    def refresh(self):
        if self.announced:
            self._world.hear("birth", self._birth())

    async def publish(self, topic, payload, qos=0, retain=False, timeout_s=None):
        await asyncio.sleep(0)
        if not self._world.online:
            raise LinkError("not connected")
        self._world.hear(topic, payload)

    async def round_trip(self):
        await asyncio.sleep(0)
        if not self._world.online:
            raise LinkError("not connected")

    async def run(self):
        await asyncio.Event().wait()

    async def announce(self, beat):
        while not self._world.online:
            await beat.sleep(1)
        self.sessions += 1
        self.announced = True
        await self.publish("state", self._state())
        await self.publish("birth", self._birth())
        if self._world.trust:
            self.deliver(self._world.trust, "trust")
        if self._world.offer:
            self.deliver(self._world.offer)
            for data in self._world.after_offer:
                self.deliver(data)
        for name, envelope in self._world.data_offers.items():
            self.deliver(envelope, "offer/" + name)
        while self._world.every:
            self._world.every(_now[0] // 1000)
            await beat.sleep(1)


def _sha256(data):
    return hashlib.sha256(data).digest()


PHASES = {
    reports.OFFERED: "offered",
    reports.FETCHING: "fetching",
    reports.APPLYING: "applying",
    reports.INSTALLED: "installed",
    reports.TRIAL: "trial",
    reports.CONFIRMED: "confirmed",
    reports.ROLLED_BACK: "rolled-back",
    reports.REFUSED: "refused",
    reports.FAILED: "failed",
    reports.CURRENT: "current",
}
